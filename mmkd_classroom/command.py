"""Common code of the commands: MMPose's flags, and how they change a config."""

import argparse
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .checkpoints import register_safe_loader
from .distributed import lost_peer
from .environment import EnvironmentProblem, explained
from .errors import ClassroomError, did_you_mean, reason
from .hub import config_file, load_config
from .inputs import TRAINING_LOADERS, check_data, explain_inputs
from .registry import HOOKS, MODELS


def run(main: Callable[[], None]) -> None:
    """Run a command; a :class:`ClassroomError` ends it with its message instead of a traceback.

    If there are several processes, only one prints the whole message: with ``dist_train.sh`` the
    first one to fail, after the output of the launcher; otherwise the first process, and the others
    print one line.
    """
    try:
        with explained(), _lost_peers_explained():
            main()
        _leave_group()
    except (ClassroomError, EnvironmentProblem) as error:
        folder = os.environ.get('CLASSROOM_ERRORS')
        if folder is not None:
            with suppress(FileExistsError), open(Path(folder) / 'message', 'x') as file:
                file.write(f'\n{error}\n')
            raise SystemExit(1) from None
        rank = int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0)
        if rank > 0:
            raise SystemExit(f'process {rank}: {str(error).splitlines()[0]}') from None
        raise SystemExit(f'\n{error}') from None


def _leave_group() -> None:
    """Leave the process group, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # Its threads must end before the interpreter does, or a run that is done may abort.
        gc.collect()  # the Runner, whose model has a part of them
        torch.distributed.destroy_process_group()


@contextmanager
def _lost_peers_explained() -> Iterator[None]:
    """Say in one message that another process is lost, instead of gloo's or NCCL's traceback."""
    try:
        yield
    except RuntimeError as error:
        if not lost_peer(error):
            raise
        raise ClassroomError(
            'Another process of this training has ended, or did not answer in time; this one waited'
            ' for it in vain. What was saved is complete: go on with --resume. If that process was '
            'only slow, such as in a validation or at a slow disk, wait for longer: '
            f'env_cfg.dist_cfg.timeout, in seconds. ({reason(error)})'
        ) from error


def read_config(config: str) -> Config:
    """Read the config of the command line.

    Args:
        config: Path, or ``'package::path'``.

    Raises:
        ClassroomError: There is no such file, or it cannot be loaded.
    """
    path = config_file(config, 'The config')
    return load_config(lambda: Config.fromfile(path), f'The config {config}')


def check_types(cfg: Config) -> None:
    """Raise an error if ``model`` or a hook has a misspelled type of this package.

    MMEngine imports this package only for types with its prefix. Without the prefix, MMEngine's own
    error would not explain the cause.

    Raises:
        ClassroomError: The prefix is missing, or there is no such type.
    """
    parts = [('model', cfg.get('model'), MODELS)]
    for index, hook in enumerate(cfg.get('custom_hooks') or []):
        parts.append((f'custom_hooks[{index}]', hook, HOOKS))
    for key, part, registry in parts:
        kind = part.get('type') if isinstance(part, dict) else None
        scope, _, name = kind.rpartition('.') if isinstance(kind, str) else ('other', '', '')
        registry.import_from_location()
        known = registry.module_dict
        if scope == '' and name in known:
            raise ClassroomError(f"{key}.type is {kind!r}: write 'mmkd_classroom.{name}'.")
        if scope == 'mmkd_classroom' and name not in known:
            raise ClassroomError(f'{key}.type is {kind!r}, unknown{did_you_mean(name, known)}.')


def positive(text: str) -> int:
    """Convert an argument of the command line to a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return number


def add_visualization_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of MMPose's train.py and test.py that show predictions."""
    parser.add_argument('--show-dir', help='directory to save visualized predictions in')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--interval', type=int, default=1, help='visualize one of this many samples'
    )
    parser.add_argument(
        '--wait-time', type=float, default=1, help='seconds for which a window is shown'
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all commands of MMPose's have."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that override the config\'s, as key=value; a list as key="[a,b]" or '
        'key=a,b, without white space, nested as key="[(a,b),(c,d)]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run',
    )
    # torch.distributed.launch passes --local-rank since PyTorch 2.0 and --local_rank before.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and set ``LOCAL_RANK``, which MMEngine reads."""
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def set_work_dir(cfg: Config, args: argparse.Namespace, name: str | None = None) -> None:
    """Set the work directory: that of the command line, of the config, or ``./work_dirs/NAME``.

    Args:
        cfg: Config; changed in place.
        args: Arguments with ``work_dir`` and ``config``.
        name: Default: the name of the config.
    """
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('./work_dirs') / (name or Path(args.config).stem))


def set_dumped_name(cfg: Config, suffix: str) -> None:
    """Let the Runner dump a derived config as ``CONFIG_SUFFIX.py``.

    The Runner dumps a config under the name of its file. In the work directory of a training, that
    is the name of the training's own config.
    """
    path = Path(cfg.filename)
    object.__setattr__(cfg, '_filename', str(path.with_name(f'{path.stem}_{suffix}{path.suffix}')))


def set_amp(cfg: Config) -> None:
    """Turn on mixed precision: float16 on a GPU, bfloat16 on a CPU.

    Raises:
        ClassroomError: The config has no optimizer wrapper, or one that mixed precision would
            replace.
    """
    if not isinstance(cfg.get('optim_wrapper'), dict):
        raise ClassroomError('--amp needs a config with `optim_wrapper`: it trains nothing.')
    kind = cfg.optim_wrapper.get('type', OptimWrapper)
    if kind not in (OptimWrapper, AmpOptimWrapper, 'OptimWrapper', 'AmpOptimWrapper'):
        raise ClassroomError(
            f'--amp cannot be combined with optim_wrapper.type = {kind!r}: leave one of them out.'
        )
    if get_device() != 'cpu':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        return
    # AmpOptimWrapper raises an error on a CPU.
    cfg.optim_wrapper.type = 'mmkd_classroom.Bf16OptimWrapper'
    if cfg.get('default_scope') == 'mmpose':  # its accuracy uses numpy, which has no bfloat16
        model = cfg.model.get('student', cfg.model)
        model.train_cfg = dict(model.get('train_cfg') or {}, compute_acc=False)


def default_hook(cfg: Config, name: str) -> ConfigDict:
    """Return a default hook of the config, which a flag changes.

    Raises:
        ClassroomError: The config does not have it.
    """
    hooks = cfg.get('default_hooks') or {}
    if name not in hooks:
        raise ClassroomError(
            f'This flag needs default_hooks.{name} in the config. MMPose and MMPretrain define it '
            'in their _base_/default_runtime.py.'
        )
    return hooks[name]


def set_visualization(cfg: Config, args: argparse.Namespace, show: bool) -> None:
    """Turn on the visualization hook with the options of the flags."""
    hook = default_hook(cfg, 'visualization')
    hook.update(enable=True, show=show, out_dir=args.show_dir, interval=args.interval)
    if show:
        hook.wait_time = args.wait_time


def set_mmpretrain_dataloaders(cfg: Config) -> None:
    """Add the settings of data loaders that MMPretrain's own tools add to every config."""
    if cfg.get('default_scope') != 'mmpretrain':
        return
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) is not None:
            defaults: dict[str, Any] = dict(
                collate_fn=dict(type='default_collate'),
                pin_memory=torch.cuda.is_available(),
                persistent_workers=cfg[name].get('num_workers', 0) > 0,
            )
            cfg[name] = ConfigDict({**defaults, **cfg[name]})


def build_runner(cfg: Config, loaders: Sequence[str] = TRAINING_LOADERS) -> Runner:
    """Build the Runner of a config, whose files are checked first.

    Args:
        cfg: The config; see :func:`prepare_distributed` for what is changed in it.
        loaders: Keys of the data loaders that are used.

    Raises:
        ClassroomError: A file does not exist. The Runner raises it, too, for data and checkpoints
            that it cannot use.
    """
    check_data(cfg, loaders)
    register_safe_loader()
    prepare_distributed(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    explain_inputs(runner)
    return runner


def prepare_distributed(cfg: Config) -> None:
    """Make ``--launcher pytorch`` work on a machine without a GPU.

    MMEngine would set a CUDA device and pass it to DDP. On a CPU, the gloo process group is
    initialised here before, and DDP gets no device.
    """
    if cfg.launcher != 'pytorch' or get_device() != 'cpu':
        return
    seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
    timeout = None if seconds is None else timedelta(seconds=seconds)
    torch.distributed.init_process_group('gloo', timeout=timeout)
    defaults = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper = cfg.get('model_wrapper_cfg') or defaults
    cfg.model_wrapper_cfg = ConfigDict({**wrapper, 'device_ids': None})
