"""The members of a classroom: sizes, and scores by the config's own metric."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS

from ..distiller import Classroom
from ..evaluation import evaluate_each, evaluation, evaluator_of, preprocess, spread
from ..mentors import Mentor

_BATCH = 32

Metrics = dict[str, float]


@torch.no_grad()
def member_scores(
    classroom: Classroom, cfg: Config, count: int, student_alone: bool = False
) -> tuple[int, list[Metrics]]:
    """Score all members alike, without test-time augmentation, on a part of the evaluation data.

    Args:
        classroom: In evaluation mode.
        cfg: Its config.
        count: Number of samples, at equal distances; more if an image has several.
        student_alone: Whether to leave out the mentors.

    Returns:
        The number of samples, and the metrics of the student and of each mentor; no metrics if the
        config does not evaluate.
    """
    parts = evaluation(cfg)
    if parts is None:
        return 0, []
    _, dataset, evaluator = parts
    dataset = DATASETS.build(dataset)
    indices = spread(dataset, count)
    evaluator = evaluator_of(dataset, Evaluator(evaluator), indices)
    mentors = () if student_alone else classroom.mentors
    batches = (
        pseudo_collate([dataset[index] for index in indices[start : start + _BATCH]])
        for start in range(0, len(indices), _BATCH)
    )
    metrics = evaluate_each(
        evaluator,
        1 + len(mentors),
        batches,
        lambda batch: _predictions(classroom, mentors, batch),
        len(indices),
    )
    return len(indices), [{name: float(value) for name, value in m.items()} for m in metrics]


def _predictions(
    classroom: Classroom, mentors: Iterable[Mentor], batch: dict
) -> Iterator[list[Any]]:
    """Samples with the predictions of the student, and of each mentor."""
    inputs, samples = preprocess(classroom, batch)
    with _without_flip_test(classroom):
        yield classroom.predict(inputs, copy.deepcopy(samples))
    for mentor in mentors:
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
