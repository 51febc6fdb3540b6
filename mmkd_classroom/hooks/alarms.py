"""What is wrong with the mentors' answers and the student's losses, said once for each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ..errors import ClassroomError

# Statistics that count samples, and what a mentor with such samples did.
_OF_MENTORS = dict(
    invalid=(
        'gave values that are not finite for {count} samples; it does not teach on such samples. '
        'They are counted in mentoring.jsonl'
    ),
    flat=(
        'gave the same value everywhere, such as zeros, or the same answer to different samples, '
        'for {count} samples: it teaches nothing there. Check its checkpoint and its input'
    ),
    huge=(
        'gave values above 10,000 for {count} samples: it may drown all else. Check its '
        "checkpoint and its input, or try precision='fp32'"
    ),
)
COUNTS = tuple(_OF_MENTORS)


class Alarms:
    """Warns of mentors whose answers are odd, and of losses that are not finite.

    Args:
        stop: Whether to raise an error instead.
    """

    def __init__(self, stop: bool) -> None:
        self.stop = stop
        self._said: set[str] = set()

    def check(self, runner: Runner, record: dict[str, Any], steps: int) -> None:
        """Check an interval. Every process must call it.

        Args:
            runner: Of which the losses are read that MMEngine has logged, on the host.
            record: The mentors' statistics of the interval, the same in all processes.
            steps: Number of iterations of the interval.

        Raises:
            ClassroomError: Something is wrong, and ``stop`` is set.
        """
        problems = {**_of_mentors(record), **_of_losses(runner.message_hub, record['iter'], steps)}
        for key, text in problems.items():
            if key not in self._said and not self.stop:
                runner.logger.warning(f'{text}; this warning comes once.')
            self._said.add(key)
        if self.stop and _anywhere(bool(problems)):
            elsewhere = 'Another process has a loss that is not finite'
            raise ClassroomError(
                f'{"; ".join(problems.values()) or elsewhere}. The training stops at iteration '
                f'{record["iter"]} because MentoringHook.stop_on_nan is set.'
            )


def _of_mentors(record: dict[str, Any]) -> dict[str, str]:
    return {
        f'{name} {key}': f'Mentor {name} {text.format(count=values[key])}'
        for name, values in record['mentors'].items()
        for key, text in _OF_MENTORS.items()
        if values.get(key)
    }


def _of_losses(hub: MessageHub, iteration: int, steps: int) -> dict[str, str]:
    """Losses of the last iterations that are not finite, all in one sentence."""
    found = dict(_first_not_finite(hub, steps))
    if not found:
        return {}
    names = ', '.join(found)
    first = iteration - steps + 1 + min(found.values())
    return {
        'loss': (
            f"The student's losses are not finite since iteration {first} ({names}). Lower the "
            'learning rate, or clip gradients (optim_wrapper.clip_grad)'
        )
    }


def _first_not_finite(hub: MessageHub, steps: int) -> Iterator[tuple[str, int]]:
    """Losses by name, with the index of the first iteration."""
    for name, history in hub.log_scalars.items():
        if name.startswith('train/') and 'loss' in name:
            bad = np.flatnonzero(~np.isfinite(history.data[0][-steps:]))
            if len(bad):
                yield name.removeprefix('train/'), int(bad[0])


def _anywhere(flag: bool) -> bool:
    """Whether it is so in any process: all of them must stop."""
    if get_world_size() == 1:
        return flag
    total = torch.tensor(float(flag))
    all_reduce(total, op='max')
    return total.item() > 0
