"""What the commands share: MMPose's flags, and what they do to a config."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device

from .environment import EnvironmentProblem, explained
from .errors import ClassroomError, did_you_mean
from .hub import config_file
from .registry import HOOKS, MODELS


def run(main: Callable[[], None]) -> None:
    """Run a command; a :class:`ClassroomError` ends it with its message in place of a traceback.

    Of several processes one speaks: under ``dist_train.sh`` the first to fail, after all that the
    launcher prints; elsewhere the first process, the others in one line.
    """
    try:
        with explained():
            main()
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


def read_config(config: str) -> Config:
    """Read the config that the command line names.

    Args:
        config: Path, or ``'package::path'``.

    Raises:
        ClassroomError: There is no such file.
    """
    return Config.fromfile(config_file(config, 'The config'))


def check_types(cfg: Config) -> None:
    """Raise where ``model`` or a hook means one of ours and does not say it rightly.

    MMEngine imports this package where a type has its prefix; without it, it finds nothing and
    cannot say why.

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


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that MMPose's train.py and test.py share."""
    parser.add_argument('--show-dir', help='directory to save visualized predictions in')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--interval', type=int, default=1, help='visualize one of this many samples'
    )
    parser.add_argument(
        '--wait-time', type=float, default=1, help='seconds for which a window is shown'
    )
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
    # torch.distributed.launch writes --local-rank since PyTorch 2.0 and --local_rank before.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and set ``LOCAL_RANK``, which MMEngine reads."""
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def set_work_dir(cfg: Config, args: argparse.Namespace, name: str | None = None) -> None:
    """The command line's, else the config's, else ``./work_dirs/NAME``.

    Args:
        cfg: Takes it.
        args: With ``work_dir`` and ``config``.
        name: By default that of the config.
    """
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('./work_dirs') / (name or Path(args.config).stem))


def default_hook(cfg: Config, name: str) -> ConfigDict:
    """One of the config's default hooks, which a flag sets up.

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
    """Turn the visualization hook on as the flags say."""
    hook = default_hook(cfg, 'visualization')
    hook.update(enable=True, show=show, out_dir=args.show_dir, interval=args.interval)
    if show:
        hook.wait_time = args.wait_time


def set_mmpretrain_dataloaders(cfg: Config) -> None:
    """Give MMPretrain's data loaders the settings that its own tools add to every config."""
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


def prepare_distributed(cfg: Config) -> None:
    """Let ``--launcher pytorch`` work on a machine without a GPU.

    MMEngine would set a CUDA device and hand its number to DDP. On a CPU the processes are joined
    by gloo before it has the chance, and DDP gets no device.
    """
    if cfg.launcher != 'pytorch' or get_device() != 'cpu':
        return
    torch.distributed.init_process_group('gloo')
    defaults = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper = cfg.get('model_wrapper_cfg') or defaults
    cfg.model_wrapper_cfg = ConfigDict({**wrapper, 'device_ids': None})
