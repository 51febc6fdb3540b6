"""Fill the cache of a classroom before training, check it, list caches, remove them.

Examples:
    python -m mmkd_classroom.cache_mentors CONFIG [--mentors A B=b.pth] [--cache DIR]
    python -m torch.distributed.run --nproc_per_node 8 -m mmkd_classroom.cache_mentors CONFIG
        --launcher pytorch
    python -m mmkd_classroom.cache_mentors CONFIG --check
    python -m mmkd_classroom.cache_mentors --list [DIR]
    python -m mmkd_classroom.cache_mentors --prune NAME... [--cache DIR]
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from .cache.cache import DEFAULT_DIR, DEFAULT_VIEWS
from .cache.pipelines import SHOWN
from .command import (
    add_common_arguments,
    check_types,
    parse,
    prepare_distributed,
    read_config,
    run,
    set_mmpretrain_dataloaders,
    set_work_dir,
)
from .compose import add_cache_argument, add_classroom_arguments, set_classroom
from .distiller import Classroom, is_classroom
from .errors import ClassroomError
from .hooks.classroom import classroom_of
from .registry import LOOPS
from .tables import text_table


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Fill, check, list or remove caches of mentors')
    parser.add_argument('config', nargs='?', help="config: its path, or 'package::path'")
    parser.add_argument('--work-dir', help='directory for logs')
    parser.add_argument(
        '--check',
        nargs='?',
        type=int,
        const=20,
        metavar='BATCHES',
        help='run the mentors again on some batches and print the differences (%(const)s)',
    )
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
        loop = FillLoop if args.check is None else CheckLoop
        runner = _runner(args, loop)
        runner.train()


def _runner(args: argparse.Namespace, loop: type[EpochBasedTrainLoop]) -> Runner:
    """A Runner that reads the training data and trains nothing."""
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    set_classroom(cfg, args.mentors, args.strategy, args.cache or '')
    if not is_classroom(cfg.model):
        raise ClassroomError(f'{args.config} is no classroom: name its mentors with --mentors.')
    set_work_dir(cfg, args, f'{Path(args.config).stem}_cache')
    set_mmpretrain_dataloaders(cfg)
    cfg.merge_from_dict(args.cfg_options)
    _keep_data_alone(cfg, loop, args.check)
    check_types(cfg)
    prepare_distributed(cfg)
    return Runner.from_cfg(cfg)


def _keep_data_alone(cfg: Config, loop: type[EpochBasedTrainLoop], batches: int | None) -> None:
    """Drop what trains, validates and writes checkpoints."""
    views = cfg.model.cache.get('views', DEFAULT_VIEWS)
    cfg.train_cfg = ConfigDict(type=f'mmkd_classroom.{loop.__name__}', max_epochs=views)
    if batches is not None:
        cfg.train_cfg.batches = batches
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    cfg.update(param_scheduler=None, load_from=None, resume=False)
    cfg.default_hooks = ConfigDict(cfg.get('default_hooks') or {}, checkpoint=None)
    cfg.custom_hooks = []


@LOOPS.register_module()
class FillLoop(EpochBasedTrainLoop):
    """Shows each view once to the mentors whose records are missing."""

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Run the mentors on a batch."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        classroom = classroom_of(self.runner)
        with torch.no_grad(), self.runner.optim_wrapper.optim_context(classroom):
            data = classroom.data_preprocessor(data_batch, True)
            classroom.cache.predict(
                list(classroom.mentors), data['inputs'], data['data_samples'], missing_only=True
            )
        self.runner.call_hook(
            'after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=None
        )
        self._iter += 1


@LOOPS.register_module()
class CheckLoop(EpochBasedTrainLoop):
    """Runs the mentors again and compares them with their records.

    Args:
        batches: Number of batches that are compared.
    """

    def __init__(self, *args: Any, batches: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches = batches
        self.differences: list[list[dict[str, float]]] = []

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Compare a batch."""
        classroom = classroom_of(self.runner)
        with torch.no_grad(), self.runner.optim_wrapper.optim_context(classroom):
            data = classroom.data_preprocessor(data_batch, True)
            if all(record is not None for s in data['data_samples'] for record in _records(s)):
                self.differences.append(compare(classroom, data['inputs'], data['data_samples']))
        self._iter += 1
        if len(self.differences) >= self.batches:
            self.stop_training = True

    def run_epoch(self) -> None:
        """Compare until there are enough batches, then print the table."""
        self.runner.call_hook('before_train_epoch')
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
            if self.stop_training:
                break
        self._epoch = self._max_epochs
        names = [mentor.name for mentor in classroom_of(self.runner).mentors]
        print(difference_table(names, self.differences))


def _records(sample: Any) -> list:
    return sample.metainfo[SHOWN].records


def compare(
    classroom: Classroom, inputs: torch.Tensor, data_samples: Sequence[Any]
) -> list[dict[str, float]]:
    """Differences between mentors and their records on a batch.

    Args:
        classroom: With a cache whose records came with the samples.
        inputs: The student's batch ``(N, 3, H, W)``.
        data_samples: N samples.

    Returns:
        For each mentor: ``value``, the mean absolute difference of its values over their mean
        size; ``score``, the greatest difference of its score of a sample; ``active``, the share of
        samples on which it ranks on the other side of the student; ``divergence``, the relative
        difference of its mean divergence from the student.
    """
    student, _ = classroom.adapter.loss(
        classroom, lambda *a: super(Classroom, classroom).loss(*a), inputs, data_samples
    )
    targets = classroom.adapter.targets(data_samples, inputs.device)
    stored = classroom.cache.predict(list(classroom.mentors), inputs, data_samples)
    online = classroom.mentors.predict(inputs)
    scores = [classroom.ranker([student, *members], targets).sample for members in (stored, online)]
    above = [score[1:] > score[:1] for score in scores]
    rows = []
    for index, (record, mentor) in enumerate(zip(stored, online)):
        size = sum(values.abs().mean() for values in mentor.logits)
        error = sum((a - b).abs().mean() for a, b in zip(record.logits, mentor.logits))
        distances = [
            classroom.divergence(student, member, targets, 1.0).mean()
            for member in (record, mentor)
        ]
        rows.append(
            dict(
                value=(error / size).item(),
                score=(scores[0][index + 1] - scores[1][index + 1]).abs().max().item(),
                active=(above[0][index] != above[1][index]).double().mean().item(),
                divergence=((distances[0] - distances[1]).abs() / distances[1]).item(),
            )
        )
    return rows


def difference_table(names: Sequence[str], batches: Sequence[list[dict[str, float]]]) -> str:
    """A table of :func:`compare` over some batches: means, and of the scores the greatest."""
    if not batches:
        raise ClassroomError('The cache has no batch whose records are all there: fill it first.')
    rows = []
    for index, name in enumerate(names):
        of_mentor = [batch[index] for batch in batches]
        mean = {key: sum(b[key] for b in of_mentor) / len(of_mentor) for key in of_mentor[0]}
        rows.append(
            [
                name,
                f'{mean["value"]:.2e}',
                f'{max(b["score"] for b in of_mentor):.2e}',
                f'{mean["active"]:.2%}',
                f'{mean["divergence"]:.2e}',
            ]
        )
    head = ['mentor', 'error of values', 'of scores, at most', 'other side of the student',
            'error of the divergence']  # fmt: skip
    return f'{len(batches)} batches\n{text_table(head, rows)}'


def list_caches(folder: Path) -> str:
    """A table of the caches in a folder.

    Raises:
        ClassroomError: There is no such folder.
    """
    if not folder.is_dir():
        raise ClassroomError(f'--list {folder}: there is no such folder.')
    rows = []
    for path in sorted(folder.glob('*/manifest.json')):
        manifest = json.loads(path.read_text())
        files = list(path.parent.glob('view_*'))
        size = sum(file.stat().st_size for file in files)
        rows.append(
            [
                path.parent.name,
                str(manifest['samples']),
                f'{len(files)} of {manifest["views"]}',
                f'{size / 2**20:.1f} MiB',
            ]
        )
    return text_table(['cache', 'samples', 'views', 'size'], rows)


def prune(folder: Path, names: Sequence[str]) -> None:
    """Remove caches.

    Args:
        folder: Where they lie.
        names: As :func:`list_caches` prints them.

    Raises:
        ClassroomError: One of them is no cache; then none is removed.
    """
    known = sorted(path.parent.name for path in folder.glob('*/manifest.json'))
    for name in names:
        if name not in known:
            raise ClassroomError(f'--prune {name}: {folder} has {", ".join(known) or "no cache"}.')
    for name in names:
        shutil.rmtree(folder / name)
        print(f'removed {folder / name}')


if __name__ == '__main__':
    main()
