"""Train a classroom, or any model of MMPose's or MMPretrain's.

Examples:
    python -m mmkd_classroom.train CONFIG --work-dir DIR
    python -m mmkd_classroom.train CONFIG --work-dir DIR --resume
    python -m mmkd_classroom.train STUDENT --mentors mmpose::PATH my_hrnet.py=my_hrnet.pth
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict

from .command import (
    add_common_arguments,
    add_visualization_arguments,
    build_runner,
    check_types,
    parse,
    read_config,
    run,
    set_amp,
    set_mmpretrain_dataloaders,
    set_visualization,
    set_work_dir,
)
from .compose import (
    add_cache_argument,
    add_classroom_arguments,
    check_overrides,
    set_classroom,
)
from .distiller import is_classroom
from .errors import ClassroomError
from .files import disk_errors_explained
from .hooks.sigterm import protect_workers
from .hub import model_config
from .mentors.entry import locate_mentors
from .options import type_name


def parse_args() -> argparse.Namespace:
    """Parse the command line, with MMPose's flags."""
    parser = argparse.ArgumentParser(description='Train a classroom or a stock model')
    parser.add_argument('config', help="path of the config, or 'package::path'")
    parser.add_argument('--work-dir', help='directory for logs and checkpoints')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint, or, without a value, from the last one in the work '
        'directory',
    )
    parser.add_argument('--amp', action='store_true', help='train in automatic mixed precision')
    parser.add_argument('--no-validate', action='store_true', help='do not validate')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--save-on-sigterm',
        action='store_true',
        help='at SIGTERM save what --resume continues exactly from, and end with code 143',
    )
    add_classroom_arguments(parser)
    add_cache_argument(parser)
    add_visualization_arguments(parser)
    add_common_arguments(parser)
    return parse(parser)


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags to the config."""
    cfg.launcher = args.launcher
    set_classroom(cfg, args.mentors, args.strategy, args.cache)
    set_work_dir(cfg, args, _folder(args.config, args.mentors, args.strategy))
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        set_amp(cfg)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        if cfg.get('auto_scale_lr') is None:
            raise ClassroomError(
                '--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=...) in the config: '
                'the batch size over all processes for which its learning rate was chosen.'
            )
        cfg.auto_scale_lr.enable = True
    if args.show or args.show_dir is not None:
        set_visualization(cfg, args, args.show)
    set_mmpretrain_dataloaders(cfg)
    if 'preprocess_cfg' in cfg:  # MMPose's other name for the model's data preprocessor
        cfg.model = model_config(cfg)
    check_overrides(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options)
    if is_classroom(cfg.get('model')):
        locate_mentors(cfg)
    _add_hooks(cfg, args.save_on_sigterm)
    return cfg


def _folder(config: str, mentors: Sequence[str] | None, strategy: str | None) -> str:
    """Name of a folder for each combination, so that ``--resume`` does not mix them up."""
    name = Path(config).stem
    if mentors:
        name += '_classroom_' + hashlib.sha256('\n'.join(mentors).encode()).hexdigest()[:6]
    return f'{name}_{strategy}' if strategy else name


def _add_hooks(cfg: Config, save_on_sigterm: bool) -> None:
    """Add the hooks of every training by this command, unless the config has them."""
    names = ['PlainCheckpointHook', 'SafeCheckpointHook', *(['SigtermHook'] * save_on_sigterm)]
    hooks = list(cfg.get('custom_hooks') or [])
    present = set(map(type_name, hooks))
    added = [ConfigDict(type=f'mmkd_classroom.{name}') for name in names if name not in present]
    cfg.custom_hooks = [*hooks, *added]


def main() -> None:
    """Run the command."""
    run(_train)


def _train() -> None:
    args = parse_args()
    cfg = merge_args(read_config(args.config), args)
    check_types(cfg)
    if cfg.get('runner_type', 'Runner') == 'FlexibleRunner' and is_classroom(cfg.model):
        raise ClassroomError(
            "runner_type is 'FlexibleRunner', which does not tell a classroom when it trains: its "
            'hooks would be missing. Leave runner_type out.'
        )
    with disk_errors_explained(cfg.work_dir):
        runner = build_runner(cfg)
        protect_workers(runner)
        runner.train()


if __name__ == '__main__':
    main()
