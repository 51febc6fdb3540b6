"""The mentors of a classroom, held so that nothing can train, save or copy them."""

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..errors import ClassroomError, each
from ..structures import Prediction
from ..tasks import Task
from .entry import read_entry
from .mentor import Mentor, build_mentor, load_mentor


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
        _tell_apart(self.mentors)

    @classmethod
    def build(
        cls, cfgs: Sequence[dict[str, Any] | str], student: nn.Module, task: Task
    ) -> 'MentorBank':
        """Build from ``model.mentors``; see :func:`read_entry`.

        What is cheap to check is checked first, and each check of all mentors before the next.
        Torch's random numbers go on as if nothing was built, so that a student in a classroom
        sees the same augmentation and dropout as alone.

        Raises:
            ClassroomError: Names every mentor that cannot teach, as far as was checked.
        """
        if not isinstance(cfgs or [], (list, tuple)):
            raise ClassroomError(
                f'model.mentors is {cfgs!r}, not a list: write [dict(config=...)].'
            )
        keyed = [(cfg, f'model.mentors[{index}]') for index, cfg in enumerate(cfgs or [])]
        with torch.random.fork_rng(devices=[]):
            entries = each(lambda item: read_entry(*item, task.mentor_options), keyed)
            mentors = each(lambda entry: build_mentor(entry, student, task), entries)
            each(lambda pair: load_mentor(*pair), zip(mentors, entries))
        return cls(mentors)

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


def _tell_apart(mentors: Sequence[Mentor]) -> None:
    """Number mentors of the same name, and say so."""
    given = [mentor.name for mentor in mentors]
    taken = set(given)
    for shared in dict.fromkeys(name for name in given if given.count(name) > 1):
        indices = [index for index, name in enumerate(given) if name == shared]
        for index in indices:
            numbered = (f'{shared}_{number}' for number in count(1))
            mentors[index].name = next(name for name in numbered if name not in taken)
            taken.add(mentors[index].name)
        renamed = [f'model.mentors[{index}] is {mentors[index].name!r} now' for index in indices]
        print_log(
            f'{len(indices)} mentors are called {shared!r}: {", ".join(renamed)}. Give each a name '
            'of its own: name=...',
            'current',
            logging.WARNING,
        )
