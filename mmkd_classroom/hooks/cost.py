"""What a training cost: time in its steps, and memory."""

import json
import resource
import sys
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS

_MAXRSS_UNIT = 1 if sys.platform == 'darwin' else 1024  # bytes


@HOOKS.register_module()
class CostHook(Hook):
    """Writes ``cost.json`` into the work directory when training has ended.

    It holds, of the main process:

    - ``seconds``: time in training steps with the loading they waited for, as MMEngine's
      ``IterTimerHook`` takes it: without start-up, validation and checkpoints, and over all parts
      of a training that was resumed;
    - ``steps``: their number;
    - ``memory``: peak memory in MiB: of tensors on the GPU, or, without one, of the process
      (the data loading workers are not in it);
    - ``device``: the GPU's name, or ``cpu``.
    """

    priority = 'VERY_LOW'

    def after_train(self, runner: Runner) -> None:
        """Write the file."""
        if not is_main_process():
            return
        times, _ = runner.message_hub.get_scalar('train/time').data
        cost = dict(
            seconds=float(times.sum()),
            steps=len(times),
            memory=peak_memory(),
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        )
        (Path(runner.work_dir) / 'cost.json').write_text(json.dumps(cost) + '\n')


def peak_memory() -> float:
    """The most memory that this process has had, in MiB; see :class:`CostHook`."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT / 2**20
