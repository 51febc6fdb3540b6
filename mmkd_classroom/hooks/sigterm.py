"""Save at SIGTERM, before the grace period of a scheduler ends."""

import os
import signal
import threading
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import distributed
from torch.utils.data import DataLoader

from ..errors import ClassroomError
from ..files import write_atomic
from ..options import refuse_unknown
from ..registry import HOOKS

EXIT_CODE = 128 + signal.SIGTERM
_IN_MEMORY = 'mmkd_classroom.memory'


@HOOKS.register_module()
class SigtermHook(Hook):
    """At SIGTERM, saves what ``--resume`` continues from and ends the training with code 143.

    SLURM, Kubernetes and cloud providers send SIGTERM some time before they kill a training. What
    is saved continues exactly as if nothing had happened:

    - Training by epochs: the state at the end of the last epoch, because MMEngine can only begin
      an epoch from its start. The steps since then are done again. If ``CheckpointHook`` has not
      saved this state (its ``interval`` is greater than 1), the hook holds it in host memory, as
      the bytes of a checkpoint. This costs one checkpoint without the disk per epoch, two if a
      validation follows, which is then in the state, too.
    - Training by iterations: the current state, after the step that is running. MMEngine skips the
      data that were seen when it resumes.

    The main process saves ``epoch_N.pth`` or ``iter_N.pth``, writes ``last_checkpoint``, and all
    processes end. A single process ends after the step, or the validation step, that is running.
    Several processes must end at the same iteration, also if only some get the signal. They agree
    on it through a number on the CPU that gloo sums every ``interval`` iterations in the
    background. Its result is used at the next such iteration, so no step waits for the device or
    for the network, and the training ends after at most ``2 * interval`` more iterations. In a
    validation they end when it is over.

    Loading workers ignore SIGTERM from others than their parent, because SLURM sends it to all
    processes of a step. Training by iterations starts them before any hook is called, so there
    :func:`protect_workers` is needed, which ``tools/train.py`` calls.

    Args:
        interval: Iterations between two sums, if there are several processes.
    """

    priority = 'LOWEST'  # after CheckpointHook, and after the schedulers' steps

    def __init__(self, interval: int = 5, **unknown: Any) -> None:
        refuse_unknown(unknown, SigtermHook, 'SigtermHook')
        if not (isinstance(interval, int) and interval >= 1):
            raise ClassroomError(
                f'SigtermHook.interval is {interval!r}: give a whole number of at least 1.'
            )
        self.interval = interval
        self._received = False
        self._held: tuple[str, bytes] | None = None  # name and bytes of a checkpoint
        self._sum: tuple[torch.Tensor, Any] | None = None
        self._before: Any = None

    # --- begin and end ---------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        """Listen to SIGTERM, here and in the loading workers."""
        if threading.current_thread() is not threading.main_thread():
            raise ClassroomError('SigtermHook: signals need training in the main thread.')
        self._group = distributed.new_group(backend='gloo') if get_world_size() > 1 else None
        self._before = signal.signal(signal.SIGTERM, self._note)
        if _runs_unprotected(runner):
            raise ClassroomError(
                'SigtermHook: in a training by iterations the loading workers run already, and '
                'would end at a SIGTERM to all processes. Train by tools/train.py (python -m '
                'mmkd_classroom.train), or set train_dataloader.num_workers=0.'
            )
        for loader in (runner.train_dataloader, runner.val_dataloader if runner.val_loop else None):
            _protect(loader)

    def after_train(self, runner: Runner) -> None:
        """SIGTERM is again what it was."""
        if self._sum is not None:
            self._sum[1].wait()
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_: Any) -> None:
        self._received = True

    # --- in training -----------------------------------------------------------------------------

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """End if it is time. In training by iterations, the state is that after this one."""
        if not self._is_time(runner.iter + 1):
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop) and is_main_process():
            self._hold(runner, 'iter', dict(epoch=runner.epoch, iter=runner.iter + 1))
        self._end(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Hold the state, unless ``CheckpointHook`` has saved it."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and is_main_process():
            self._hold(runner, 'epoch', dict(epoch=runner.epoch + 1, iter=runner.iter))

    def after_val_iter(self, runner: Runner, batch_idx: int, *_: Any, **__: Any) -> None:
        """A single process need not finish its validation."""
        if self._received and self._group is None and self._held is not None:
            self._end(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """The state is now also that of the validation, such as the best score."""
        if self._held is None or not is_main_process():
            return
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._hold(runner, 'epoch', dict(epoch=runner.epoch, iter=runner.iter))

    def _is_time(self, iteration: int) -> bool:
        """Whether this is the iteration to stop after; the same in all processes."""
        if self._group is None:
            return self._received
        if iteration % self.interval:
            return False
        stop = False
        if self._sum is not None:
            received, work = self._sum
            work.wait()
            stop = received.item() > 0
        received = torch.tensor([float(self._received)])
        self._sum = received, distributed.all_reduce(received, group=self._group, async_op=True)
        return stop

    def _end(self, runner: Runner) -> None:
        if self._sum is not None:
            self._sum[1].wait()
        if is_main_process():
            runner.logger.warning(self._save(runner))
        if self._group is not None:  # a launcher kills the others when one has ended
            distributed.barrier(self._group)
        raise SystemExit(EXIT_CODE)

    # --- what is saved ---------------------------------------------------------------------------

    def _hold(self, runner: Runner, unit: str, meta: dict[str, int]) -> None:
        """Keep the bytes of a checkpoint, which MMEngine makes."""
        name = f'{unit}_{meta[unit]}.pth'
        saved = [hook.last_ckpt for hook in runner.hooks if isinstance(hook, CheckpointHook)]
        if any(path and Path(path).name == name for path in saved):
            self._held = name, b''
            return
        _InMemory.content = b''
        arguments = dict(meta=meta, backend_args=dict(backend=_IN_MEMORY))
        runner.save_checkpoint(runner.work_dir, name, **arguments)
        self._held = name, _InMemory.content

    def _save(self, runner: Runner) -> str:
        """Write the file, and say so."""
        begun = 'Stopped by SIGTERM'
        if self._held is None:
            return f'{begun} before the end of its first epoch: there is nothing new to save.'
        name, content = self._held
        if not content:
            return f'{begun}: {name} was saved before. Go on with --resume.'
        path = Path(runner.work_dir) / name
        write_atomic(path, content)
        write_atomic(path.with_name('last_checkpoint'), str(path).encode())
        return f'{begun}: {path} is saved. Go on with --resume.'


def protect_workers(runner: Runner) -> None:
    """Let all loading workers of a Runner ignore SIGTERM from others, if it has the hook.

    Args:
        runner: Before its training.
    """
    if not any(isinstance(hook, SigtermHook) for hook in runner.hooks):
        return
    build = runner.build_dataloader

    @wraps(build)
    def protected(*args: Any, **kwargs: Any) -> Any:
        loader = build(*args, **kwargs)
        _protect(loader)
        return loader

    runner.build_dataloader = protected


def _protect(loader: Any) -> None:
    if isinstance(loader, DataLoader) and not _is_protected(loader):
        loader.worker_init_fn = partial(_ignore_others, first=loader.worker_init_fn)


def _is_protected(loader: DataLoader) -> bool:
    return getattr(loader.worker_init_fn, 'func', None) is _ignore_others


def _runs_unprotected(runner: Runner) -> bool:
    loader = runner.train_dataloader
    if isinstance(runner.train_loop, EpochBasedTrainLoop) or not isinstance(loader, DataLoader):
        return False
    return loader.num_workers > 0 and not _is_protected(loader)


@register_backend(_IN_MEMORY)
class _InMemory(LocalBackend):
    """MMEngine's file backend that keeps the bytes of the last file."""

    content = b''

    def put(self, obj: bytes, filepath: Path | str) -> None:
        _InMemory.content = obj


def _ignore_others(worker_id: int, first: Callable[[int], None] | None) -> None:
    """Let a loading worker end at SIGTERM from its parent only."""
    if first is not None:
        first(worker_id)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS, whose workers die
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
