"""Checkpoints that survive accidents, and resumption from the last good one."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ..distributed import unwrapped
from ..errors import ClassroomError
from ..files import AtomicLocalBackend, register_atomic_backend
from ..last_good import FaultKind, fault_of, find_last_good, not_finite
from ..registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Lets no accident cost more than the work since the last checkpoint.

    - Local files are written whole or not at all; see
      :class:`~mmkd_classroom.files.AtomicLocalBackend`.
    - A checkpoint that ``max_keep_ckpts`` or a new best one replaces is removed after the new one
      is on the disk, not before. This needs space for one more checkpoint.
    - ``--resume`` passes over checkpoints that are damaged or not finite, says so, and continues
      from the last good one. A damaged checkpoint that is named (``--resume PATH``, ``load_from``)
      is not replaced by another: an error says what is wrong with it, and which one is good.
    - As soon as the student's weights are not finite, a warning says so once. Checkpoints are still
      written, but none is chosen as the best, and no earlier one is removed.

    The weights are checked when they are saved, on the host, and once per validation.

    The hook does not need a classroom and works with any MMEngine training. Checkpoints on remote
    storage are left to MMEngine.
    """

    priority = 'LOWEST'  # after CheckpointHook

    def __init__(self) -> None:
        self._broken = False
        self._late: list[_LateRemoval] = []

    def before_run(self, runner: Runner) -> None:
        """Find the checkpoint to resume from, before MMEngine reads it."""
        register_atomic_backend()
        if not runner._has_loaded and (runner._resume or runner._load_from):
            _choose(runner)

    def before_train(self, runner: Runner) -> None:
        """Make ``CheckpointHook`` remove files late."""
        for hook in _checkpoint_hooks(runner):
            if type(hook.file_backend) is AtomicLocalBackend:
                hook.file_backend = _LateRemoval()
                self._late.append(hook.file_backend)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights that are saved."""
        self._check(runner, checkpoint['state_dict'])

    def before_val_epoch(self, runner: Runner) -> None:
        """Check the weights of which a validation might find that they are the best."""
        self._check(runner, unwrapped(runner.model).state_dict())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Remove what a new checkpoint has replaced."""
        self._remove()

    def after_train_epoch(self, runner: Runner) -> None:
        """Remove what a new checkpoint has replaced."""
        self._remove()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remove what a new best checkpoint has replaced."""
        self._remove()

    def _remove(self) -> None:
        for backend in self._late:
            backend.finish(keep=self._broken)

    def _check(self, runner: Runner, state_dict: dict[str, Any]) -> None:
        if self._broken:  # NaN and infinite weights stay what they are
            return
        name = not_finite(state_dict, _parameters(runner))
        if name is None:
            return
        self._broken = True
        for hook in _checkpoint_hooks(runner):
            hook.save_best = None
        runner.logger.warning(
            f"The student's weights are not finite after iteration {runner.iter} ({name}): it has "
            'diverged. From now on no checkpoint is the best one, earlier ones are not removed, '
            'and --resume will pass over those with such weights. Lower the learning rate, or clip '
            'gradients (optim_wrapper.clip_grad). This warning comes once.'
        )


class _LateRemoval(AtomicLocalBackend):
    """Files of a ``CheckpointHook``, which removes an old checkpoint before it writes the new."""

    def __init__(self) -> None:
        self._removed: list[tuple[Path, int]] = []

    def remove(self, filepath: Path | str) -> None:
        path = Path(filepath)
        self._removed.append((path, path.stat().st_ino))

    def finish(self, keep: bool) -> None:
        """Remove the files, unless they were written anew meanwhile."""
        for path, inode in self._removed:
            if not keep and path.is_file() and path.stat().st_ino == inode:
                path.unlink()
        self._removed.clear()


def _choose(runner: Runner) -> None:
    """Check the checkpoint that the run starts from; let ``--resume`` take the last good one."""
    choice: list[Any] = [None, None]
    if is_main_process():
        try:
            choice[0] = _last_good(runner) if runner._load_from is None else _named(runner)
        except ClassroomError as error:
            choice[1] = str(error)
    broadcast_object_list(choice)  # all processes start from one, or end with one message
    if choice[1] is not None:
        raise ClassroomError(choice[1])
    if choice[0] is not None:
        runner._load_from = choice[0]


def _last_good(runner: Runner) -> str | None:
    """The checkpoint for ``--resume``, or None to leave it to MMEngine."""
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    named = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    if '://' in named or (named and Path(named).is_dir()):  # remote, or DeepSpeed's
        return None
    path, passed = find_last_good(runner.work_dir, _parameters(runner))
    for line in passed:
        runner.logger.warning(f'Not resumed: {line}.')
    if path is None and passed:
        faults = '\n'.join(passed)
        raise ClassroomError(
            f'--resume: no checkpoint in {runner.work_dir} is good:\n{faults}\nRemove them to '
            'begin anew, or give a good one: --resume PATH.'
        )
    if path is None:
        runner.logger.warning(
            f'--resume: there is no checkpoint in {runner.work_dir}. The training starts from the '
            'beginning.'
        )
    if path is None or (not passed and named):
        return None
    runner.logger.info(f'Auto resumed from the last good checkpoint {path}.')
    return str(path)


def _named(runner: Runner) -> None:
    """Check the checkpoint that the command line or the config names."""
    source = str(runner._load_from)
    path = Path(source).expanduser()
    option = '--resume' if runner._resume else 'load_from'
    if '://' in source or path.is_dir():  # MMEngine, or our loader, says it
        return
    if not path.is_file():
        raise ClassroomError(
            f'{option} = {source!r}: there is no such file (sought at {path.absolute()}).'
        )
    fault = fault_of(path, _parameters(runner))
    if fault is None or fault.kind in (FaultKind.HAS_CODE, FaultKind.NO_WEIGHTS):
        return  # the loader says what that means
    if fault.kind is FaultKind.NOT_FINITE:  # it can be read: MMEngine would go on, and so do we
        runner.logger.warning(f'{path} {fault.text}: a training from it cannot learn.')
        return
    good, _ = find_last_good(path.parent, _parameters(runner))
    remedy = 'no other checkpoint in its folder is good' if good is None else f'{good} is good'
    raise ClassroomError(f'{option} = {source!r} {fault.text}; {remedy}. Give another one.')


def _checkpoint_hooks(runner: Runner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _parameters(runner: Runner) -> set[str]:
    model = unwrapped(runner.model)
    if not isinstance(model, torch.nn.Module):  # a FlexibleRunner has not built it yet
        return set()
    return {name for name, _ in model.named_parameters()}
