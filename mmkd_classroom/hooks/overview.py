"""Log an overview of a classroom before training: its members and the cost of a step."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import nn

from ..distiller import Classroom, student_of
from ..dry_run import gigaflops
from ..errors import listed
from ..mentors import Mentor
from ..tables import text_table

HEAD = ['member', 'parameters', 'GFLOPs', 'input', 'head', 'precision', 'teaches']


def log_overview(classroom: Classroom, size: tuple[int, int]) -> None:
    """Log a table of the classroom, its cost, and which joints mentors teach by another name.

    Joints that a mentor does not teach are a warning.

    Args:
        classroom: A prepared classroom, whose joints are matched.
        size: Width and height of the student's input.
    """
    print_log(overview(classroom, size), 'current')
    for index, mentor in enumerate(classroom.mentors):
        adapter, who = mentor.output_adapter, f'model.mentors[{index}] ({mentor.name})'
        if adapter.by_table:
            pairs = [f'{theirs} -> {ours}' for theirs, ours in adapter.by_table]
            print_log(
                f'{who} teaches by the table of joint sets (mmkd_classroom/joint_sets.py): '
                + listed(pairs),
                'current',
            )
        if adapter.untaught:
            print_log(
                f'{who} does not teach: {listed(adapter.untaught)}',
                'current',
                level=logging.WARNING,
            )


def overview(classroom: Classroom, size: tuple[int, int]) -> str:
    """Return the table, and the cost of a step relative to training the student alone.

    A step of the student counts as three forward passes: the forward pass, the gradient of the
    inputs and the gradient of the weights. A step of a mentor is one forward pass.
    """
    student, *mentors = costs = member_costs(classroom, size)
    rows = member_rows(classroom, size, costs)
    text = f'The classroom:\n{text_table(HEAD, rows)}\n{method_of(classroom)}'
    if student and all(mentors):
        ratio = 1 + sum(mentors) / (3 * student)
        text += f"\nBy these figures a step costs {ratio:.1f} times the student's alone."
        if classroom.cache is not None:
            text += ' A step whose outputs are in the cache does not run the mentors.'
    return text


def member_rows(
    classroom: Classroom, size: tuple[int, int], costs: Sequence[float | None]
) -> list[list[str]]:
    """Rows of the table: the student, then the mentors.

    Args:
        classroom: A prepared classroom.
        size: Width and height of the student's input.
        costs: See :func:`member_costs`.
    """
    plain = student_of(classroom)
    student, *mentors = map(_figure, costs)
    rows = [['student', _millions(plain), student, _pixels(size), _head(plain), '', '']]
    for mentor, cost, theirs in zip(classroom.mentors, mentors, _sizes(classroom, size)):
        rows.append(
            [
                mentor.name,
                _millions(mentor.model),
                cost,
                _pixels(theirs),
                _head(mentor.model),
                _precision(mentor),
                mentor.output_adapter.summary,
            ]
        )
    return rows


def method_of(classroom: Classroom) -> str:
    """One sentence on the strategy, the divergence and the ranker."""
    parts = (classroom.strategy, classroom.divergence, classroom.ranker)
    strategy, divergence, ranker = (type(part).__name__ for part in parts)
    return f'{strategy} by {divergence}, scored by {ranker}.'


def member_costs(classroom: Classroom, size: tuple[int, int]) -> list[float | None]:
    """GFLOPs of a forward pass of the student, then of the mentors; None if not known.

    A GFLOP is a billion multiply-adds, as in the model zoos' tables.
    """
    mentors = zip(classroom.mentors, _sizes(classroom, size))
    return [
        gigaflops(student_of(classroom), size),
        *(gigaflops(mentor.model, theirs) for mentor, theirs in mentors),
    ]


def _sizes(classroom: Classroom, size: tuple[int, int]) -> list[tuple[int, int]]:
    return [mentor.input_adapter.size or size for mentor in classroom.mentors]


def parameter_count(model: nn.Module) -> int:
    """Number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def _millions(model: nn.Module) -> str:
    return f'{parameter_count(model) / 1e6:.2f} M'


def _figure(value: float | None) -> str:
    return '?' if value is None else f'{value:.3g}'


def _pixels(size: Sequence[int]) -> str:
    return f'{size[0]}x{size[1]}'


def _head(model: nn.Module) -> str:
    return type(getattr(model, 'head', model)).__name__


def _precision(mentor: Mentor) -> str:
    return "the student's" if mentor.dtype is None else str(mentor.dtype).removeprefix('torch.')
