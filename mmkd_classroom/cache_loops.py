"""Loops that run mentors without training: fill a cache, check it, compare record formats."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor

from .cache.pipelines import SHOWN
from .cache.record_format import RecordFormat
from .distiller import Classroom
from .errors import ClassroomError
from .hooks.classroom import classroom_of
from .registry import LOOPS
from .structures import Prediction
from .tables import text_table

#: Formats of records that :class:`FormatsLoop` compares; logits of few classes have no cells.
FORMATS = (
    dict(precision='fp32', cells=None),
    dict(precision='fp16', cells=None),
    dict(precision='fp16', cells=128),
    dict(precision='fp16', cells=64),
    dict(precision='fp16', cells=32),
    dict(precision='fp16', cells=16),
    dict(precision='fp16', cells=8),
)


class _Loop(EpochBasedTrainLoop):
    """An epoch without training."""

    trains = False

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Process a batch."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        classroom = classroom_of(self.runner)
        with self.runner.optim_wrapper.optim_context(classroom):
            data = classroom.data_preprocessor(data_batch, True)
            self.process(classroom, data['inputs'], data['data_samples'])
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=None
        )
        self._iter += 1

    def process(self, classroom: Classroom, inputs: Tensor, data_samples: list[Any]) -> None:
        """Process what the data preprocessor returns."""
        raise NotImplementedError


@LOOPS.register_module()
class FillLoop(_Loop):
    """Shows each view once to the mentors whose records are missing."""

    def process(self, classroom: Classroom, inputs: Tensor, data_samples: list[Any]) -> None:
        """Run the mentors, and store their outputs."""
        with torch.no_grad():
            mentors = list(classroom.mentors)
            classroom.cache.predict(mentors, inputs, data_samples, missing_only=True)


class _CompareLoop(_Loop):
    """Compares predictions with those of mentors that run, and prints a table.

    Args:
        batches: Number of batches that are compared.
    """

    def __init__(self, *args: Any, batches: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches = batches
        self.compared = 0

    def run_epoch(self) -> None:
        """Compare until there are enough batches, then print the table."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
            if self.compared >= self.batches:
                break
        self._epoch = self._max_epochs
        print(self.table(classroom_of(self.runner)))

    def table(self, classroom: Classroom) -> str:
        """What was found."""
        raise NotImplementedError


@LOOPS.register_module()
class CheckLoop(_CompareLoop):
    """Runs the mentors again and compares them with their records."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.differences: list[dict[str, Tensor]] = []

    def process(self, classroom: Classroom, inputs: Tensor, data_samples: list[Any]) -> None:
        """Compare a batch whose records are all there."""
        shown = [sample.metainfo[SHOWN] for sample in data_samples]
        if any(record is None for each in shown for record in each.records):
            return
        stored = classroom.cache.predict(list(classroom.mentors), inputs, data_samples)
        online = classroom.mentors.predict(inputs)
        (difference,) = compare(classroom, inputs, data_samples, online, [stored])
        self.differences.append(difference)
        self.compared += 1

    def table(self, classroom: Classroom) -> str:
        """A row for each mentor, and the whole classroom's gradient."""
        if not self.differences:
            raise ClassroomError(
                'The cache has no batch whose records are all there: fill it first.'
            )
        mean = {k: torch.stack([d[k] for d in self.differences]).mean(0) for k in COLUMNS}
        rows = [
            [mentor.name, *(f'{mean[key][index]:.2e}' for key in list(COLUMNS)[:3])]
            for index, mentor in enumerate(classroom.mentors)
        ]
        table = text_table(['mentor', *list(COLUMNS.values())[:3]], rows)
        rest = ', '.join(f'{COLUMNS[key]} {mean[key]:.5f}' for key in list(COLUMNS)[3:])
        return f'{self.compared} batches\n{table}\n{rest}'


@LOOPS.register_module()
class FormatsLoop(_CompareLoop):
    """Compares the formats that a record can have. Reads and writes no cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.differences: list[list[dict[str, Tensor]]] = []
        self.sizes: list[int] = []

    def process(self, classroom: Classroom, inputs: Tensor, data_samples: list[Any]) -> None:
        """Compare a batch in all formats."""
        mentors = list(classroom.mentors)
        if any(mentor.stages for mentor in mentors):
            raise ClassroomError(
                f'{type(classroom.strategy).__name__} reads features of the mentors, and --formats '
                'compares what they return: name another --strategy.'
            )
        outputs = [mentor.output(inputs) for mentor in mentors]
        formats = [
            [
                RecordFormat(
                    **RecordFormat.shape_of(output), factor=mentor.output_adapter.factor, **options
                )
                for mentor, output in zip(mentors, outputs)
            ]
            for options in FORMATS
        ]
        self.sizes = [
            sum(record_format.size for record_format in row) // len(mentors) for row in formats
        ]
        stored = [
            [
                mentor.output_adapter.predict(record_format.unpack(record_format.pack(output)))
                for mentor, record_format, output in zip(mentors, row, outputs)
            ]
            for row in formats
        ]
        online = [m.output_adapter.predict(output) for m, output in zip(mentors, outputs)]
        self.differences.append(compare(classroom, inputs, data_samples, online, stored))
        self.compared += 1

    def table(self, classroom: Classroom) -> str:
        """A row for each format that differs from the one above."""
        rows = []
        for index, options in enumerate(FORMATS):
            if index and self.sizes[index] == self.sizes[index - 1]:
                continue
            found = [batch[index] for batch in self.differences]
            mean = {key: torch.stack([f[key].mean() for f in found]).mean() for key in COLUMNS}
            worst = torch.stack([f['gradient'] for f in found]).min()
            kept = 'all' if options['cells'] is None else str(options['cells'])
            rows.append(
                [
                    f'{kept}, {options["precision"]}',
                    f'{self.sizes[index]:,}',
                    f'{mean["values"]:.1e}',
                    f'{mean["divergence"]:.1e}',
                    f'{mean["active"]:.2%}',
                    f'{mean["ranks"]:.2%}',
                    f'{mean["gradient"]:.5f}',
                    f'{worst:.5f}',
                ]
            )
        head = ['cells', 'bytes', *COLUMNS.values(), 'lowest of all batches']
        return f'{self.compared} batches\n{text_table(head, rows)}'


#: What :func:`compare` measures, and its title in tables.
COLUMNS = dict(
    values='value error',
    divergence='divergence error',
    active='filter flips',
    ranks='rank changes',
    gradient='gradient cosine',
)


def compare(
    classroom: Classroom,
    inputs: Tensor,
    data_samples: Sequence[Any],
    online: Sequence[Prediction],
    others: Sequence[Sequence[Prediction]],
) -> list[dict[str, Tensor]]:
    """Differences between mentors and what is said to be theirs, on a batch.

    Args:
        classroom: In training mode.
        inputs: The student's batch ``(N, 3, H, W)``.
        data_samples: N samples.
        online: The mentors' predictions.
        others: Lists of predictions to compare with them.

    Returns:
        For each list: ``values``, ``(M,)``, the mean absolute difference of the logits over their
        mean size; ``divergence``, ``(M,)``, the relative difference of the mean divergence from the
        student; ``active``, ``(M,)``, the share of samples on which the mentor's score is on the
        other side of the student's; ``ranks``, the share of samples with another order of the
        members; ``gradient``, the cosine of the gradients of the distillation losses, 1 if they
        are equal.
    """
    student, losses, targets = classroom.run_student(inputs, data_samples)
    parameters = [parameter for parameter in classroom.parameters() if parameter.requires_grad]

    def examined(mentors: Sequence[Prediction]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the samples, mean divergences, gradient of the distillation losses."""
        scores = classroom.ranker([student, *mentors], targets)
        divergences = torch.stack(
            [classroom.divergence(student, mentor, targets, 1.0).mean() for mentor in mentors]
        )
        strategy = classroom.strategy.eval()  # it learns nothing from this
        output = strategy(student, mentors, scores, targets, classroom.divergence, losses)
        strategy.train()
        loss = sum(value for name, value in output.losses.items() if name not in losses)
        gradient = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        flat = [g.flatten() for g in gradient if g is not None]
        return scores.sample, divergences.detach(), torch.cat(flat).double()

    expected = examined(online)
    results = []
    for mentors in others:
        scores, divergences, gradient = examined(mentors)
        above = [(s[1:] > s[:1]) for s in (expected[0], scores)]
        orders = [s.argsort(dim=0, stable=True) for s in (expected[0], scores)]
        results.append(
            dict(
                values=torch.stack([_error(*pair) for pair in zip(online, mentors)]),
                divergence=(divergences - expected[1]).abs() / expected[1].abs(),
                active=(above[0] != above[1]).double().mean(1),
                ranks=(orders[0] != orders[1]).any(0).double().mean(),
                gradient=_cosine(gradient, expected[2]),
            )
        )
    return results


def _cosine(gradient: Tensor, expected: Tensor) -> Tensor:
    """1 also for equal gradients of 0, of a batch that nobody teaches."""
    equal = (gradient == expected).all()
    return torch.where(equal, 1.0, torch.cosine_similarity(gradient, expected, dim=0))


def _error(exact: Prediction, other: Prediction) -> Tensor:
    size = sum(values.abs().mean() for values in exact.logits)
    return sum((a - b).abs().mean() for a, b in zip(exact.logits, other.logits)) / size
