"""The mentors of a classroom, held so that nothing can train, save or copy them."""

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

    It is no :class:`torch.nn.Module`: the mentors are not among ``parameters()`` and
    ``state_dict()``, ``train()`` does not reach them, DDP does not broadcast them and no
    optimizer sees them. A deep copy shares them, so EMA's model has no second set, and does not
    move them, wherever EMA keeps its model.

    Args:
        mentors: At least one.
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
    ) -> tuple['MentorBank', list[dict[str, int]]]:
        """Build mentors and load their weights; each check of all mentors before the next.

        Torch's random numbers go on as if nothing was built, so that a student in a classroom
        sees the same augmentation and dropout as alone.

        Args:
            entries: See :func:`read_entries`.
            names: Of the mentors.
            stages: Stages of each mentor's backbone that the strategy reads.
            student: Stock model.
            adapter: Adapter of the student.

        Returns:
            The bank, and the channels of the stages of each mentor.

        Raises:
            ClassroomError: Names every mentor that cannot teach, as far as was checked.
        """
        with torch.random.fork_rng(devices=[]):
            built = each(
                lambda item: build_mentor(*item, student, adapter), zip(entries, names, stages)
            )
            mentors = [mentor for mentor, _ in built]
            each(lambda pair: load_mentor(*pair), zip(mentors, entries))
        return cls(mentors), [channels for _, channels in built]

    def match(self, metainfo: dict | str | None) -> None:
        """Match each mentor's items with the student's; see :meth:`OutputAdapter.match`."""
        each(lambda mentor: mentor.output_adapter.match(metainfo), self.mentors)

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
