"""Container of the mentors, which are never trained, saved or copied."""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import each
from ..heads import HeadAdapter
from ..structures import Prediction
from .entry import Entry
from .mentor import Mentor, build_mentor, load_mentor


class MentorBank:
    """A list of mentors.

    It is not a :class:`torch.nn.Module`: the mentors are not in ``parameters()`` and
    ``state_dict()``, ``train()`` does not change them, DDP does not broadcast them and no optimizer
    updates them. A deep copy, such as EMA's, shares the mentors and does not move them to another
    device.

    Args:
        mentors: At least one mentor.
    """

    def __init__(self, mentors: Sequence[Mentor]) -> None:
        self.mentors: list[Mentor] = list(mentors)
        self._owns = True

    @classmethod
    def build(
        cls,
        entries: Sequence[Entry],
        names: Sequence[str],
        stages: Sequence[Sequence[str]],
        student: nn.Module,
        adapter: HeadAdapter,
        on_demand: bool = False,
    ) -> tuple['MentorBank', list[dict[str, int]]]:
        """Build all mentors, then load their weights.

        The random state of torch is restored, so that a student in a classroom gets the same
        augmentation and dropout as alone.

        Args:
            entries: See :func:`read_entries`.
            names: Names of the mentors.
            stages: Stages of each mentor's backbone that the strategy needs.
            student: Stock model.
            adapter: Adapter of the student.
            on_demand: See :class:`Mentor`.

        Returns:
            The bank, and the number of channels of the stages of each mentor.

        Raises:
            ClassroomError: Mentors cannot be built; or, if all are built, weights cannot be
                loaded. The message has the errors of all mentors.
        """
        with torch.random.fork_rng(devices=[]):
            built = each(
                lambda item: build_mentor(*item, student, adapter, on_demand),
                zip(entries, names, stages),
            )
            mentors = [mentor for mentor, _ in built]
            each(lambda pair: load_mentor(*pair), zip(mentors, entries))
        return cls(mentors), [channels for _, channels in built]

    @property
    def names(self) -> list[str]:
        """Names of the mentors, which are distinct."""
        return [mentor.name for mentor in self]

    def prepare(self, metainfo: dict | str | None) -> None:
        """Match the items of each mentor with the student's; see :meth:`OutputAdapter.prepare`."""
        if self._owns:
            each(lambda mentor: mentor.output_adapter.prepare(metainfo), self.mentors)

    def predict(self, inputs: Tensor) -> list[Prediction]:
        """Predict the student's batch ``(N, 3, H, W)`` with each mentor; see :class:`Mentor`."""
        return [mentor.predict(inputs) for mentor in self.mentors]

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Apply a function to all tensors, as ``nn.Module._apply`` does for a child module."""
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
