"""Which samples a report shows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .samples import SampleOutputs

# Confidence of a mentor that is called sure.
_SURE = 0.5


@dataclass(frozen=True)
class Gallery:
    """Some samples and why they are shown.

    Attributes:
        title: What they are.
        reason: How they were chosen.
        samples: Their indices, the most typical first.
    """

    title: str
    reason: str
    samples: list[int]


def galleries(outputs: SampleOutputs, count: int = 6) -> list[Gallery]:
    """Choose samples that show how the classroom works; none is shown twice.

    Args:
        outputs: Outputs of the members.
        count: Number of samples of each gallery.
    """
    shown: set[int] = set()
    found = []
    for title, reason, value in _QUESTIONS:
        interest = np.where(outputs.labelled.any(axis=-1), value(outputs), -np.inf)
        order = [int(i) for i in np.argsort(-interest, kind='stable') if np.isfinite(interest[i])]
        chosen = [index for index in order if index not in shown][:count]
        shown.update(chosen)
        if chosen:
            found.append(Gallery(title, reason, chosen))
    return found


def _lead(outputs: SampleOutputs) -> np.ndarray:
    """Largest lead over the student of a mentor that teaches."""
    lead = np.where(outputs.sample_weight > 0, outputs.score[1:] - outputs.score[:1], -np.inf)
    return lead.max(axis=0)


def _error_of_silenced(outputs: SampleOutputs) -> np.ndarray:
    """Largest product of confidence and error of a mentor that does not teach."""
    error = outputs.confidence[1:] * (1 - outputs.score[1:])
    wrong = (outputs.score[1:] < outputs.score[:1]) & (outputs.confidence[1:] >= _SURE)
    return np.where((outputs.sample_weight == 0) & wrong, error, -np.inf).max(axis=0)


def _dispute(outputs: SampleOutputs) -> np.ndarray:
    """Difference between the best and the worst mentor."""
    if len(outputs.members) < 3:
        return np.full(outputs.score.shape[1], -np.inf)
    return np.ptp(outputs.score[1:], axis=0)


def _difficulty(outputs: SampleOutputs) -> np.ndarray:
    """Negative mean score of all members."""
    return -outputs.score.mean(axis=0)


_QUESTIONS: tuple[tuple[str, str, Callable[[SampleOutputs], np.ndarray]], ...] = (
    (
        'Where the student has most to learn',
        'A mentor that teaches is furthest ahead of the student.',
        _lead,
    ),
    (
        'Confidently wrong, and silenced',
        'A mentor is sure and worse than the student, and has no weight.',
        _error_of_silenced,
    ),
    ('The most disputed', 'The scores of the mentors differ most.', _dispute),
    ('The hardest', 'The mean score of all members is lowest.', _difficulty),
)
