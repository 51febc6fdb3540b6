"""Members of a classroom, scored by the config's own metrics without the Runner's loop."""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.utils.data import Dataset

from .errors import ClassroomError


def evaluation(cfg: Config) -> tuple[str, Any, Any] | None:
    """What a config evaluates a model with: its validation, or else its test.

    Returns:
        ``'val'`` or ``'test'``, the config of the data set and that of the evaluator; None if there
        is neither.
    """
    for stage in ('val', 'test'):
        loader, evaluator = (cfg.get(f'{stage}_{part}') for part in ('dataloader', 'evaluator'))
        if loader is not None and evaluator is not None:
            return stage, loader.dataset, evaluator
    return None


def spread(dataset: Dataset, count: int) -> list[int]:
    """Indices spread over the data set, with all instances of each selected image.

    Raises:
        ClassroomError: The data set has fewer than 2 samples.
    """
    if len(dataset) < 2:
        raise ClassroomError('The data set of the evaluation has fewer than 2 samples.')
    count = min(count, len(dataset))
    chosen = set(np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist())
    for index in sorted(chosen):
        image = _image_of(dataset, index)
        for step in (-1, 1):
            other = index + step
            while image is not None and 0 <= other < len(dataset):
                if other in chosen or _image_of(dataset, other) != image:
                    break
                chosen.add(other)
                other += step
    return sorted(chosen)


def evaluator_of(dataset: Dataset, evaluator: Evaluator, indices: Sequence[int]) -> Evaluator:
    """Prepare an evaluator for some samples of a data set.

    Args:
        dataset: The data set.
        evaluator: It is changed: its COCO metrics keep the selected images only, because others
            would be counted as misses.
        indices: Indices of the selected samples.

    Returns:
        The evaluator.
    """
    evaluator.dataset_meta = dataset.metainfo
    for metric in evaluator.metrics:
        coco = getattr(metric, 'coco', None)
        if coco is not None:
            shown = {_image_of(dataset, index) for index in indices}
            coco.imgs = {key: image for key, image in coco.imgs.items() if key in shown}
    return evaluator


def preprocess(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, list[Any]]:
    """A batch of a data loader as a model reads it.

    Args:
        model: With a ``data_preprocessor``.
        batch: Batch of the data loader.

    Returns:
        The images, ``(N, 3, H, W)`` on the model's device, and the N samples. ``batch`` is not
        modified.
    """
    data = model.data_preprocessor(copy.deepcopy(batch), False)
    inputs = data['inputs']
    if isinstance(inputs, (list, tuple)):
        inputs = torch.stack(list(inputs))
    return inputs, data['data_samples']


def evaluate_each(
    evaluator: Evaluator,
    count: int,
    batches: Iterable[dict[str, Any]],
    predict: Callable[[dict[str, Any]], Iterable[list[Any]]],
    size: int,
) -> list[dict[str, Any]]:
    """Evaluate several members, or several predictions of one, on the same batches.

    Args:
        evaluator: It is copied for each of them.
        count: How many there are.
        batches: Batches of a data loader.
        predict: Gives the samples of a batch with the predictions of each, ``count`` lists.
        size: Number of samples of all batches.

    Returns:
        The metrics of each.
    """
    evaluators = [copy.deepcopy(evaluator) for _ in range(count)]
    for batch in batches:
        for each, samples in zip(evaluators, predict(batch)):
            each.process(data_samples=samples, data_batch=batch)
    with _quiet():
        return [each.evaluate(size) for each in evaluators]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output of metrics except warnings and errors."""

    def important(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    logger = MMLogger.get_current_instance()
    logger.addFilter(important)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.removeFilter(important)


def _image_of(dataset: Dataset, index: int) -> int | None:
    info = getattr(dataset, 'get_data_info', lambda index: {})(index)
    return info.get('img_id')
