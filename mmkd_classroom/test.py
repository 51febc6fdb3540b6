"""Evaluate a classroom's student, or any model of MMPose's or MMPretrain's.

For the config of a classroom, only the student is built; its mentors are not needed.

Examples:
    python -m mmkd_classroom.test CONFIG CHECKPOINT
    python -m mmkd_classroom.test CONFIG CHECKPOINT --out metrics.json --show-dir pictures
"""

import argparse
import re

from mmengine import dump
from mmengine.config import Config
from mmengine.dist import is_main_process

from .checkpoints import load_weights
from .command import (
    add_common_arguments,
    add_visualization_arguments,
    build_runner,
    default_hook,
    parse,
    read_config,
    run,
    set_dumped_name,
    set_mmpretrain_dataloaders,
    set_visualization,
    set_work_dir,
)
from .distiller import KEYS, is_classroom, student_config
from .distributed import unwrapped
from .errors import ClassroomError

# The student's own keys may be changed, too: `model.head.loss`. Both have a data preprocessor.
_CLASSROOM = re.compile(rf'model\.({"|".join(set(KEYS) - {"data_preprocessor"})})\b')
_OUT_FORMATS = ('.json', '.yaml', '.yml', '.pkl', '.pickle')


def parse_args() -> argparse.Namespace:
    """Parse the command line, with MMPose's flags."""
    parser = argparse.ArgumentParser(description='Evaluate a student or a stock model')
    parser.add_argument('config', help="path of the config, or 'package::path'")
    parser.add_argument('checkpoint', help='path or URL of the checkpoint')
    parser.add_argument('--work-dir', help='directory for logs and results')
    parser.add_argument('--out', help=f'file to save the metrics in: {", ".join(_OUT_FORMATS)}')
    parser.add_argument('--dump', help='pickle file to save the predictions in')
    parser.add_argument(
        '--badcase', action='store_true', help='find the samples with the worst predictions'
    )
    add_visualization_arguments(parser)
    add_common_arguments(parser)
    return parse(parser)


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Apply the flags to the config."""
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    set_work_dir(cfg, args)
    if args.out is not None and not args.out.endswith(_OUT_FORMATS):
        raise ClassroomError(f'--out {args.out!r} must end with one of {_OUT_FORMATS}.')
    if args.show_dir is not None or (args.show and not args.badcase):
        set_visualization(cfg, args, args.show and not args.badcase)
    if args.badcase:
        _set_badcase(cfg, args)
    if args.dump is not None:
        _set_dump(cfg, args.dump)
    set_mmpretrain_dataloaders(cfg)
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def _set_badcase(cfg: Config, args: argparse.Namespace) -> None:
    hook = default_hook(cfg, 'badcase')
    hook.update(enable=True, show=args.show, interval=args.interval)
    if args.show:
        hook.wait_time = args.wait_time
    metrics = dict(loss=cfg.model.get('head', {}).get('loss'), accuracy=cfg.test_evaluator)
    metric_type = hook.get('metric_type', 'loss')
    if metric_type not in metrics:
        raise ClassroomError(
            f'default_hooks.badcase.metric_type is {metric_type!r}: write one of {list(metrics)}.'
        )
    if not hook.get('metric'):
        hook.metric = metrics[metric_type]


def _set_dump(cfg: Config, path: str) -> None:
    if not path.endswith(('.pkl', '.pickle')):
        raise ClassroomError(f'--dump {path!r} must end with .pkl or .pickle.')
    evaluators = cfg.test_evaluator
    if not isinstance(evaluators, (list, tuple)):
        evaluators = [evaluators]
    cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=path)]


def main() -> None:
    """Run the command."""
    run(_test)


def _test() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    if is_classroom(cfg.get('model')):  # apply options of the classroom before it is removed
        options = args.cfg_options or {}
        of_classroom = {key: options.pop(key) for key in list(options) if _CLASSROOM.match(key)}
        cfg.merge_from_dict(of_classroom)
        set_dumped_name(cfg, 'student')
    cfg = merge_args(student_config(cfg), args)
    runner = build_runner(cfg, ['test_dataloader'])
    model = unwrapped(runner.model)
    # The runner loads the file again, for its hooks. It would only warn about wrong keys and test
    # random weights.
    load_weights(model, args.checkpoint)
    metrics = runner.test()
    if args.out is not None and is_main_process():
        dump(metrics, args.out)


if __name__ == '__main__':
    main()
