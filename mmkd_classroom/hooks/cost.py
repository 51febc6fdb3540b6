"""Record the cost of a training: time of its steps, and memory."""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS

_MAXRSS_UNIT = 1 if sys.platform == 'darwin' else 1024  # bytes


@HOOKS.register_module()
class CostHook(Hook):
    """Writes ``cost.json`` to the work directory after training.

    The file has these values of the main process:

    - ``seconds``: time of the training steps, including the wait for data, as measured by
      MMEngine's ``IterTimerHook``: without start-up, validation and checkpoints, and summed over
      all parts of a resumed training;
    - ``steps``: number of steps;
    - ``memory``: peak memory in MiB: of tensors on the GPU, or, without a GPU, of the process
      (without the data loading workers);
    - ``device``: name of the GPU, or ``cpu``.
    """

    priority = 'NORMAL'  # before LoggerHook, which resets the GPU's peak

    def __init__(self) -> None:
        self._peak = 0.0

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Read the peak since the last line of the log."""
        self._peak = max(self._peak, peak_memory())

    def after_train(self, runner: Runner) -> None:
        """Write the file."""
        if not is_main_process():
            return
        times, _ = runner.message_hub.get_scalar('train/time').data
        cost = dict(
            seconds=float(times.sum()),
            steps=len(times),
            memory=max(self._peak, peak_memory()),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        )
        (Path(runner.work_dir) / 'cost.json').write_text(json.dumps(cost) + '\n')


def peak_memory() -> float:
    """Peak memory of this process in MiB, on a GPU since its last reset; see :class:`CostHook`."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / 2**20
