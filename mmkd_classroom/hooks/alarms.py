"""Warnings of odd outputs of mentors and of odd losses. Each comes once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ..errors import ClassroomError

# Statistics that count samples.
COUNTS = ('invalid', 'constant', 'huge')
# A warning is logged if the mentors' fraction of the loss is above _HIGH_SHARE in _PATIENCE
# consecutive records. Single batches and the first steps of training may have such a fraction.
_HIGH_SHARE, _PATIENCE = 0.8, 5


class Alarms:
    """Warns of mentors whose outputs are odd, and of losses that are not finite or too large.

    Args:
        stop: Whether to raise an error instead, unless a loss is only too large.
    """

    def __init__(self, stop: bool) -> None:
        self.stop = stop
        self._said: set[str] = set()
        self._new: list[str] = []
        self._high_shares = 0

    def check(self, runner: Runner, record: dict[str, Any], steps: int, factors: str = '') -> None:
        """Check an interval. Every process must call it.

        Args:
            runner: Has the losses that MMEngine has logged, on the host.
            record: The mentors' statistics of the interval, the same in all processes.
            steps: Number of iterations of the interval.
            factors: Options to lower if the mentors' losses are too large.

        Raises:
            ClassroomError: Something is wrong, and ``stop`` is set.
        """
        self._new = []
        for name, values in record['mentors'].items():
            self._check_mentor(name, values)
        self._check_losses(runner.message_hub, record['iter'], steps)
        if self.stop:
            _stop(self._new, record['iter'])
        self._check_share(record, factors)
        for text in self._new:
            runner.logger.warning(f'{text}; this warning comes once.')

    def warning(self, text: str, key: str) -> None:
        """Note a text, unless there was one for this key before."""
        if key not in self._said:
            self._said.add(key)
            self._new.append(text)

    def _check_mentor(self, name: str, values: dict[str, float]) -> None:
        invalid, constant, huge = (values.get(key) for key in COUNTS)
        if invalid:
            self.warning(
                f'Mentor {name} gave values that are not finite for {invalid} samples; it does not '
                'teach on such samples. They are counted in mentoring.jsonl',
                f'{name} invalid',
            )
        if constant:
            self.warning(
                f'Mentor {name} gave the same value everywhere, such as zeros, or the same output '
                f'to different samples, for {constant} samples: it teaches nothing there. Check '
                'its checkpoint and its input',
                f'{name} constant',
            )
        if huge:
            self.warning(
                f'Mentor {name} gave values above 10,000 for {huge} samples: it may drown all '
                "else. Check its checkpoint and its input, or try precision='fp32'",
                f'{name} huge',
            )

    def _check_share(self, record: dict[str, Any], factors: str) -> None:
        share = sum(values.get('share', 0.0) for values in record['mentors'].values())
        self._high_shares = self._high_shares + 1 if share > _HIGH_SHARE else 0
        if self._high_shares == _PATIENCE:
            self.warning(
                f'The mentors make up more than {_HIGH_SHARE} of the whole loss since {_PATIENCE} '
                f'records: the student hardly learns from its labels. Lower {factors}',
                'share',
            )

    def _check_losses(self, hub: MessageHub, iteration: int, steps: int) -> None:
        found = dict(_first_not_finite(hub, steps))
        if not found:
            return
        names, first = ', '.join(found), iteration - steps + 1 + min(found.values())
        self.warning(
            f"The student's losses are not finite since iteration {first} ({names}). Lower the "
            'learning rate, or clip gradients (optim_wrapper.clip_grad)',
            'losses',
        )


def _first_not_finite(hub: MessageHub, steps: int) -> Iterator[tuple[str, int]]:
    """Losses by name, with the index of the first iteration."""
    for name, history in hub.log_scalars.items():
        if name.startswith('train/') and 'loss' in name:
            bad = np.flatnonzero(~np.isfinite(history.data[0][-steps:]))
            if len(bad):
                yield name.removeprefix('train/'), int(bad[0])


def _stop(problems: list[str], iteration: int) -> None:
    """Raise an error in all processes if there is a problem in any."""
    count = torch.tensor(float(len(problems)))
    all_reduce(count, op='max')
    if count.item() == 0:
        return
    problem = '; '.join(problems) or 'Another process has a loss that is not finite'
    raise ClassroomError(
        f'{problem}. The training stops at iteration {iteration} because '
        'MentoringHook.stop_on_alarm is set.'
    )
