"""What a user should know before a classroom trains: who teaches what, and what it costs."""

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ..distiller import Classroom
from ..mentors import Mentor
from ..tables import text_table

_HEAD = ['member', 'parameters', 'GFLOPs', 'input', 'head', 'precision', 'teaches']
_SHOWN_NAMES = 20


def log_overview(classroom: Classroom, size: tuple[int, int]) -> None:
    """Log a table of the classroom, its cost, and the joints that a mentor does not teach.

    Args:
        classroom: With its samples checked, so that the joints are matched.
        size: Width and height of the student's input.
    """
    print_log(overview(classroom, size), 'current')
    for index, mentor in enumerate(classroom.bank):
        untaught = mentor.reader.untaught
        if untaught:
            names = ', '.join(untaught[:_SHOWN_NAMES])
            more = len(untaught) - _SHOWN_NAMES
            print_log(
                f'model.mentors[{index}] ({mentor.name}) does not teach: {names}'
                + (f' and {more} more' if more > 0 else ''),
                'current',
                level=30,
            )


def overview(classroom: Classroom, size: tuple[int, int]) -> str:
    """The table, and the classroom's cost beside the student alone.

    A GFLOP is a billion multiply-adds, as in the model zoos' tables. A step of the student is
    counted as three forward passes, one of them for the gradient of the inputs and one for that of
    the weights; a mentor's step is one forward pass.
    """
    student = gigaflops(classroom, size)
    mentors = [gigaflops(mentor.model, mentor.view.size or size) for mentor in classroom.bank]
    rows = [
        ['student', _millions(classroom), _figure(student), _pixels(size), _head(classroom), '', '']
    ]
    for mentor, cost in zip(classroom.bank, mentors):
        rows.append(
            [
                mentor.name,
                _millions(mentor.model),
                _figure(cost),
                _pixels(mentor.view.size or size),
                _head(mentor.model),
                _precision(mentor),
                mentor.reader.summary,
            ]
        )
    text = f'The classroom:\n{text_table(_HEAD, rows)}'
    if student and all(mentors):
        ratio = 1 + sum(mentors) / (3 * student)
        text += f"\nBy these figures a step costs {ratio:.1f} times the student's alone."
    return text


def gigaflops(model: nn.Module, size: tuple[int, int]) -> float | None:
    """Billions of multiply-adds of one image's forward pass; nothing is computed.

    Args:
        model: Stock model.
        size: Width and height of its input.

    Returns:
        None for a model whose shapes depend on its values.
    """
    parameter = next(model.parameters())
    training = {module: module.training for module in model.modules()}
    try:
        for module in training:
            module.training = False
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            image = torch.empty(
                1, 3, size[1], size[0], dtype=parameter.dtype, device=parameter.device
            )
            with FlopCounterMode(display=False) as counter:
                model.forward(image, None, mode='tensor')
    except Exception:  # a figure to look at is no reason to stop a training
        return None
    finally:
        for module, mode in training.items():
            module.training = mode
    return counter.get_total_flops() / 2e9


def _millions(model: nn.Module) -> str:
    return f'{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M'


def _figure(value: float | None) -> str:
    return '?' if value is None else f'{value:.2f}'


def _pixels(size: Sequence[int]) -> str:
    return f'{size[0]}x{size[1]}'


def _head(model: nn.Module) -> str:
    return type(getattr(model, 'head', model)).__name__


def _precision(mentor: Mentor) -> str:
    return "the student's" if mentor.dtype is None else str(mentor.dtype).removeprefix('torch.')
