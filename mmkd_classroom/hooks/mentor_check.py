"""Check before training that each mentor is better than chance on the validation data."""

import copy
import dataclasses
import random
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from ..distiller import Classroom
from ..errors import ClassroomError, did_you_mean
from ..evaluation import evaluate_each, evaluator_of, preprocess, spread
from ..mentors import Mentor
from ..options import check_options, without_marks
from ..structures import Prediction
from ..tables import text_table
from .overview import parameter_count

_SHUFFLES = 5


class MentorCheck:
    """Scores every mentor with the metric of the config.

    The chance level is the mentor's score when its predictions are assigned to other samples: their
    distribution is the same, but they are independent of the image. This is repeated several times.
    The score of a mentor must be better than the best of these scores by more than their range.

    Args:
        num_samples: Number of validation samples, spread evenly over the data set.
        metric: Name of the metric, such as ``'coco/AP'``. Default: the first metric of the
            evaluator.
        rule: Whether ``'greater'`` or ``'less'`` is better.
    """

    def __init__(
        self, num_samples: int = 256, metric: str | None = None, rule: str = 'greater'
    ) -> None:
        if not (isinstance(num_samples, int) and num_samples >= 2):
            raise ClassroomError(
                f'MentoringHook.mentor_check.num_samples is {num_samples!r}: give a whole number '
                'of at least 2.'
            )
        if rule not in ('greater', 'less'):
            raise ClassroomError(
                f"MentoringHook.mentor_check.rule is {rule!r}: choose 'greater' or 'less'."
            )
        self.num_samples = num_samples
        self.metric = metric
        self.rule = rule

    def run(self, runner: Runner, classroom: Classroom) -> list[dict[str, Any]]:
        """Check all mentors and log a table.

        Returns:
            One row per mentor: ``name``, ``parameters``, ``metric``, ``score``, and ``chance``, the
            list of scores on shuffled images.

        Raises:
            ClassroomError: The runner does not validate, the metric does not exist, or a mentor
                is no better than chance; or there are too few samples.
        """
        if runner.cfg.get('val_evaluator') is None:
            raise ClassroomError(
                'custom_hooks: MentoringHook.mentor_check needs val_dataloader and val_evaluator.'
            )
        loader = runner.val_dataloader
        indices = spread(loader.dataset, self.num_samples)
        evaluator = runner.build_evaluator(copy.deepcopy(runner.cfg.val_evaluator))
        evaluator = evaluator_of(loader.dataset, evaluator, indices)
        if len(indices) < 2 * get_world_size():  # a single sample cannot be exchanged for another
            raise ClassroomError(
                f'MentoringHook.mentor_check has {len(indices)} samples: it needs two for each '
                'process, so raise num_samples, or leave mentor_check out.'
            )
        # Data sets are often sorted by class: exchanging neighbours would not change the score.
        random.Random(0).shuffle(indices)
        mine = indices[get_rank() :: get_world_size()]
        batches = list(
            DataLoader(
                Subset(loader.dataset, mine),
                batch_size=_batch_size(len(mine), loader.batch_size or 1),
                collate_fn=loader.collate_fn,
            )
        )
        rows = [
            self._examine(classroom, mentor, batches, evaluator, len(indices))
            for mentor in classroom.mentors
        ]
        runner.logger.info('Mentor check:\n' + _table(rows))
        for index, row in enumerate(rows):
            if not self._better(row['score'], row['chance']):
                raise ClassroomError(
                    f'model.mentors[{index}] ({row["name"]}) is no better than chance: '
                    f'{row["metric"]} = {row["score"]:.4f}, and {_span(row["chance"])} on '
                    'shuffled images. Check that its checkpoint belongs to its config, and that '
                    "its classes or joints mean the same as the data set's."
                )
        return rows

    def _better(self, score: float, chance: list[float]) -> bool:
        margin = max(chance) - min(chance)
        if self.rule == 'less':
            return score < min(chance) - margin
        return score > max(chance) + margin

    def _examine(
        self,
        classroom: Classroom,
        mentor: Mentor,
        batches: list[dict],
        evaluator: Evaluator,
        size: int,
    ) -> dict[str, Any]:
        results = evaluate_each(
            evaluator,
            1 + _SHUFFLES,
            batches,
            lambda batch: _predict(classroom, mentor, batch),
            size,
        )
        name = self.metric or next(iter(results[0]))
        if name not in results[0]:
            raise ClassroomError(
                f'MentoringHook.mentor_check.metric is {name!r}{did_you_mean(name, results[0])}: '
                f'the evaluator reports {sorted(results[0])}.'
            )
        score, *chance = (float(metrics[name]) for metrics in results)
        return dict(
            name=mentor.name,
            parameters=parameter_count(mentor.model),
            metric=name,
            score=score,
            chance=chance,
        )


def build_mentor_check(options: Mapping[str, Any]) -> MentorCheck:
    """Build the check from its options.

    Args:
        options: ``MentoringHook.mentor_check``.

    Raises:
        ClassroomError: It is not a dict, or has an unknown option or an invalid value.
    """
    if not isinstance(options, Mapping):
        raise ClassroomError(
            f'MentoringHook.mentor_check is {options!r}: give dict() for its defaults, a dict with '
            'some of its options, or None for no check.'
        )
    options = without_marks(options)
    check_options(MentorCheck, options, 'MentoringHook.mentor_check')
    return MentorCheck(**options)


@torch.no_grad()
def _predict(classroom: Classroom, mentor: Mentor, batch: dict) -> Iterator[list[Any]]:
    """Predictions of a mentor for the batch, then the same assigned to other samples by shifts."""
    inputs, samples = preprocess(classroom, batch)
    prediction = mentor.predict(inputs)
    for shuffle in range(_SHUFFLES + 1):
        shift = 0 if shuffle == 0 else 1 + (shuffle - 1) % max(1, len(inputs) - 1)
        shown = _roll(prediction, shift)
        yield classroom.adapter.write(shown, samples, classroom)


def _roll(prediction: Prediction, shift: int) -> Prediction:
    """Shift the samples of a prediction."""

    def roll(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.roll(shift, dims=0)

    return dataclasses.replace(
        prediction,
        values=tuple(map(roll, prediction.values)),
        valid=roll(prediction.valid),
        joints=roll(prediction.joints),
        confidences=roll(prediction.confidences),
    )


def _batch_size(samples: int, wanted: int) -> int:
    """Batch size that is large enough for the shifts and leaves no last batch of one sample."""
    size = max(_SHUFFLES + 1, wanted)
    while samples % size == 1 < samples:
        size += 1
    return size


def _span(values: list[float]) -> str:
    return f'{min(values):.4f} to {max(values):.4f}'


def _table(rows: list[dict[str, Any]]) -> str:
    head = ['mentor', 'parameters', rows[0]['metric'], 'on shuffled images']
    body = [
        [
            row['name'],
            f'{row["parameters"] / 1e6:.2f} M',
            f'{row["score"]:.4f}',
            _span(row['chance']),
        ]
        for row in rows
    ]
    return text_table(head, body)
