"""The members of a classroom: sizes, and scores by the config's own metric."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS

from ..distiller import Classroom
from ..hooks.mentor_check import quiet, restrict, spread

_BATCH = 32


@torch.no_grad()
def member_scores(
    classroom: Classroom, cfg: Config, count: int
) -> tuple[int, list[dict[str, float]]]:
    """Score all members alike, without test-time augmentation, on a part of the validation data.

    Args:
        classroom: In evaluation mode.
        cfg: Its config.
        count: Number of samples, at equal distances; more if an image has several.

    Returns:
        The number of samples, and the metrics of the student and of each mentor; no metrics if the
        config does not validate.
    """
    if cfg.get('val_evaluator') is None or cfg.get('val_dataloader') is None:
        return 0, []
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    indices = spread(dataset, count)
    evaluator = Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    restrict(evaluator, dataset, indices)
    judges = [copy.deepcopy(evaluator) for _ in range(1 + len(classroom.mentors))]
    for start in range(0, len(indices), _BATCH):
        batch = pseudo_collate([dataset[index] for index in indices[start : start + _BATCH]])
        for judge, samples in zip(judges, _predictions(classroom, batch)):
            judge.process(data_samples=samples, data_batch=batch)
    with quiet():
        metrics = [judge.evaluate(len(indices)) for judge in judges]
    return len(indices), [{name: float(value) for name, value in m.items()} for m in metrics]


def _predictions(classroom: Classroom, batch: dict) -> Iterator[list[Any]]:
    """Samples with the predictions of each member."""
    data = classroom.data_preprocessor(copy.deepcopy(batch), False)
    inputs, samples = data['inputs'], data['data_samples']
    if isinstance(inputs, (list, tuple)):
        inputs = torch.stack(list(inputs))
    with _without_flip_test(classroom):
        yield classroom.predict(inputs, copy.deepcopy(samples))
    for mentor in classroom.mentors:
        yield classroom.adapter.write(mentor.predict(inputs), samples, classroom)


@contextmanager
def _without_flip_test(classroom: Classroom) -> Iterator[None]:
    """As mentors teach; MMPose's models average the predictions of an image and its mirror."""
    settings = getattr(classroom, 'test_cfg', None)
    if not settings:
        yield
        return
    classroom.test_cfg = dict(settings, flip_test=False)
    try:
        yield
    finally:
        classroom.test_cfg = settings
