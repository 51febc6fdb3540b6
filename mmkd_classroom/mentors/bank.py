"""The mentors of a classroom, held so that nothing can train, save or copy them."""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..structures import Prediction
from ..tasks import Task
from .mentor import Mentor, build_mentor


class MentorBank:
    """A list of mentors.

    It is no :class:`torch.nn.Module`: the mentors are not among ``parameters()`` and
    ``state_dict()``, ``train()`` does not reach them, DDP does not broadcast them and no
    optimizer sees them. A deep copy shares them, so EMA's model has no second set, and does not
    move them, wherever EMA keeps its model.

    Args:
        mentors: At least one; equal names are told apart by a number.
    """

    def __init__(self, mentors: Sequence[Mentor]) -> None:
        if not mentors:
            raise ClassroomError(
                'model.mentors is empty: name at least one mentor, or train model.student on its '
                'own with its stock config.'
            )
        self.mentors: list[Mentor] = list(mentors)
        self._owns = True
        given = [mentor.name for mentor in self.mentors]
        taken = set(given)
        for mentor in self.mentors:
            if given.count(mentor.name) > 1:
                numbered = (f'{mentor.name}_{number}' for number in count(1))
                mentor.name = next(name for name in numbered if name not in taken)
                taken.add(mentor.name)

    @classmethod
    def build(cls, cfgs: Sequence[dict[str, Any]], student: nn.Module, task: Task) -> 'MentorBank':
        """Build from ``model.mentors``; see :func:`build_mentor`.

        Torch's random numbers go on as if nothing was built, so that a student in a classroom
        sees the same augmentation and dropout as alone.
        """
        with torch.random.fork_rng(devices=[]):
            return cls(
                [
                    build_mentor(cfg, f'model.mentors[{index}]', student, task)
                    for index, cfg in enumerate(cfgs or [])
                ]
            )

    def bind(self, names: Sequence[str] | None) -> None:
        """Tell each mentor's reader the names of the student's items."""
        for mentor in self.mentors:
            mentor.reader.bind(names)

    def predict(self, inputs: Tensor) -> list[Prediction]:
        """Each mentor's prediction on the student's batch ``(N, 3, H, W)``, in its form."""
        return [mentor.predict(inputs) for mentor in self.mentors]

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """What ``nn.Module._apply`` does to a child."""
        for mentor in self.mentors if self._owns else ():
            mentor.apply(function)

    def __deepcopy__(self, memo: dict) -> 'MentorBank':
        shared = copy.copy(self)
        shared._owns = False
        return shared

    def __iter__(self) -> Iterator[Mentor]:
        return iter(self.mentors)

    def __len__(self) -> int:
        return len(self.mentors)

    def __getitem__(self, index: int) -> Mentor:
        return self.mentors[index]
