"""Fill the cache of a classroom before training, check it, list caches, remove them.

Examples:
    python -m mmkd_classroom.cache_mentors CONFIG [--mentors A B=b.pth] [--cache DIR]
    python -m torch.distributed.run --nproc_per_node 8 -m mmkd_classroom.cache_mentors CONFIG
        --launcher pytorch
    python -m mmkd_classroom.cache_mentors CONFIG --check --student FILE.pth
    python -m mmkd_classroom.cache_mentors CONFIG --formats --student FILE.pth
    python -m mmkd_classroom.cache_mentors --list [DIR]
    python -m mmkd_classroom.cache_mentors --prune NAME... [--cache DIR]
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from .cache.cache import DEFAULT_DIR, DEFAULT_VIEWS, read_manifest
from .cache.store import Store
from .command import (
    add_common_arguments,
    build_runner,
    check_types,
    parse,
    positive,
    read_config,
    run,
    set_amp,
    set_dumped_name,
    set_mmpretrain_dataloaders,
)
from .compose import (
    add_cache_argument,
    add_classroom_arguments,
    check_overrides,
    set_classroom,
)
from .distiller import is_classroom
from .errors import ClassroomError
from .hooks.cache import NEEDS_EPOCHS
from .tables import text_table


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Fill, check, list or remove caches of mentors')
    parser.add_argument('config', nargs='?', help="config: its path, or 'package::path'")
    parser.add_argument('--work-dir', help='directory for logs')
    parser.add_argument(
        '--check',
        nargs='?',
        type=positive,
        const=20,
        metavar='BATCHES',
        help='run the mentors again on some batches and print the differences (%(const)s)',
    )
    parser.add_argument(
        '--formats',
        nargs='?',
        type=positive,
        const=20,
        metavar='BATCHES',
        help='compare the formats of records on some batches (%(const)s); needs no cache',
    )
    parser.add_argument('--amp', action='store_true', help='fill the cache of `train --amp`')
    parser.add_argument('--student', metavar='FILE', help='its weights, for --check and --formats')
    parser.add_argument('--list', nargs='?', const=DEFAULT_DIR, metavar='DIR', help='list caches')
    parser.add_argument('--prune', nargs='+', metavar='NAME', help='remove caches, as listed')
    add_classroom_arguments(parser)
    add_cache_argument(parser)
    add_common_arguments(parser)
    args = parse(parser)
    if args.config is None and not (args.list or args.prune):
        parser.error('name a config, or --list or --prune')
    return args


def main() -> None:
    """Run the command."""
    run(_main)


def _main() -> None:
    args = parse_args()
    if args.list:
        print(list_caches(Path(args.list)))
    elif args.prune:
        prune(Path(args.cache or DEFAULT_DIR), args.prune)
    else:
        _runner(args).train()


def _runner(args: argparse.Namespace) -> Runner:
    """A Runner that reads the training data and trains nothing."""
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    set_classroom(cfg, args.mentors, args.strategy, args.cache or '')
    if not is_classroom(cfg.model):
        raise ClassroomError(f'{args.config} is no classroom: name its mentors with --mentors.')
    # Not that of the config: the one that a training dumped has the training's.
    cfg.work_dir = args.work_dir or f'./work_dirs/{Path(args.config).stem}_cache'
    if args.amp:
        set_amp(cfg)
    set_mmpretrain_dataloaders(cfg)
    check_overrides(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options)
    if (Path(cfg.work_dir) / 'mentoring.jsonl').exists():
        raise ClassroomError(
            f'--work-dir {cfg.work_dir} is that of a training, whose records would be dropped: '
            'give another.'
        )
    loop = cfg.get('train_cfg') or {}
    if not loop or loop.get('by_epoch') is False or 'max_iters' in loop:
        raise ClassroomError(NEEDS_EPOCHS)
    if not isinstance(cfg.model.cache, dict):
        raise ClassroomError(f'model.cache is {cfg.model.cache!r}: write dict() for its defaults.')
    _keep_data_alone(cfg)
    set_dumped_name(cfg, 'cache')
    if args.check is not None:
        cfg.train_cfg.update(type='mmkd_classroom.CheckLoop', batches=args.check)
    elif args.formats is not None:
        cfg.train_cfg.update(type='mmkd_classroom.FormatsLoop', batches=args.formats)
        cfg.model.cache = None
    cfg.load_from = args.student
    cfg.pop('runner_type', None)
    check_types(cfg)
    return build_runner(cfg)


def _keep_data_alone(cfg: Config) -> None:
    """Drop what trains, validates and writes checkpoints; show all samples."""
    views = cfg.model.cache.get('views', DEFAULT_VIEWS)
    cfg.train_dataloader.drop_last = False
    cfg.train_cfg = ConfigDict(type='mmkd_classroom.FillLoop', max_epochs=views)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    cfg.update(param_scheduler=None, resume=False)
    cfg.default_hooks = ConfigDict(cfg.get('default_hooks') or {}, checkpoint=None)
    cfg.custom_hooks = []


def list_caches(folder: Path) -> str:
    """A table of the caches in a folder.

    Raises:
        ClassroomError: There is no such folder, or a cache in it is damaged.
    """
    if not folder.is_dir():
        raise ClassroomError(f'--list {folder}: there is no such folder.')
    rows = []
    for path in sorted(folder.glob('*/manifest.json')):
        samples = read_manifest(path)['samples']
        files = path.parent.glob('view_*')  # with a dot: of a process that was killed
        stores = [Store.found(file, samples) for file in files if not file.suffix]
        filled = sum(store.count() for store in stores) / max(1, samples * len(stores))
        size = sum(store.bytes for store in stores) / 2**20
        rows.append(
            [path.parent.name, f'{samples}', f'{len(stores)}', f'{filled:.0%}', f'{size:.1f} MiB']
        )
    return text_table(['cache', 'samples', 'views', 'filled', 'size'], rows)


def prune(folder: Path, names: Sequence[str]) -> None:
    """Remove caches.

    Args:
        folder: Where they lie.
        names: As :func:`list_caches` prints them.

    Raises:
        ClassroomError: One of them is no cache, or a link; then none is removed.
    """
    known = sorted(path.parent.name for path in folder.glob('*/manifest.json'))
    for name in names:
        if name not in known:
            raise ClassroomError(f'--prune {name}: {folder} has {", ".join(known) or "no cache"}.')
        if (folder / name).is_symlink():
            raise ClassroomError(
                f'--prune {name}: it is a link to {(folder / name).resolve()}. Remove the link '
                'yourself; nothing outside of the folder is removed here.'
            )
    for name in names:
        shutil.rmtree(folder / name)
        print(f'removed {folder / name}')


if __name__ == '__main__':
    main()
