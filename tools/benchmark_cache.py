#!/usr/bin/env python
"""Time an epoch from a full cache, beside the student alone and beside mentors that run.

Trainings by the Runner, of one epoch each, take turns in one process, so other load on the machine
affects all of them, and ratios are computed per round. The time is that from the beginning to the
end of the epoch: data loading, decoding and augmenting JPEG files of 640x480, the steps and the
hooks. There are no loading workers, so that nothing is hidden behind the steps. Weights are random
and images are generated, so nothing is downloaded.

Examples:
    python tools/benchmark_cache.py pose
    python tools/benchmark_cache.py configs/classroomkd/rtmpose_coco.py --samples 32 --batch-size 8
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common  # noqa: F401
import cv2
import numpy as np
from benchmark_step import PRESETS, classrooms, generated_record
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mmkd_classroom.benchmark.plan import remove_mentors
from mmkd_classroom.command import set_mmpretrain_dataloaders
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks.classroom import classroom_of
from mmkd_classroom.hooks.overview import member_costs
from mmkd_classroom.mentors.entry import as_entry

ALONE, CACHED, ONLINE = 'the student alone', 'from the cache', 'with mentors'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help=f'{", ".join(PRESETS)}, or the config of a classroom')
    parser.add_argument('--samples', type=int, default=64, help='in an epoch')
    parser.add_argument('--batch-size', type=int, help="by default the preset's, or the config's")
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--online-rounds', type=int, default=2, help='of these, with mentors')
    return parser.parse_args(argv)


@DATASETS.register_module(force=True)
def GeneratedDataset(  # noqa: N802
    dataset: dict[str, Any], folder: str, samples: int, classes: int
) -> BaseDataset:
    """A stock data set with its own pipeline, on generated images.

    Args:
        dataset: Its config.
        folder: Where the images lie.
        samples: How many there are.
        classes: Number of classes, for a classifier.
    """
    made: BaseDataset = DATASETS.build(dict(dataset, lazy_init=True))
    rng = np.random.default_rng(0)
    made.data_list = []
    for index in range(samples):
        record = generated_record(rng, index, made.metainfo.get('num_keypoints'), classes)
        del record['img']
        made.data_list.append(dict(record, img_path=str(Path(folder) / f'{index}.jpg')))
    made.serialize_data, made._fully_initialized = False, True
    return made


def write_pictures(folder: Path, samples: int) -> None:
    """Write JPEG files that take as long to decode as photographs: smooth noise."""
    rng = np.random.default_rng(0)
    for index in range(samples):
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index}.jpg'), cv2.resize(coarse, (640, 480)))


def prepared(cfg: Config, folder: Path, args: argparse.Namespace) -> Config:
    """The config for one epoch on generated data, with mentors of random weights."""
    loader = cfg.train_dataloader
    dataset = loader['dataset']
    while 'dataset' in dataset:  # a wrapper, such as RepeatDataset
        dataset = dataset['dataset']
    loader.dataset = dict(
        type='GeneratedDataset',
        dataset=dataset,
        folder=str(folder),
        samples=args.samples,
        classes=cfg.model.student.head.get('num_classes', 0),
    )
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    if args.batch_size:
        loader.batch_size = args.batch_size
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    cfg.update(param_scheduler=None, auto_scale_lr=None, log_level='WARNING')
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None)
    cfg.custom_hooks = []
    set_mmpretrain_dataloaders(cfg)
    cfg.model.mentors = [
        dict(as_entry(mentor, 'model.mentors'), checkpoint=None) for mentor in cfg.model.mentors
    ]
    remove_pretrained(cfg.model)
    # The same random weights in each training: they are part of the key of a cache.
    cfg.randomness = dict(seed=0)
    return cfg


def remove_pretrained(part: Any) -> None:
    """Remove what would download first weights from a config, also from its inner parts."""
    if isinstance(part, dict):
        if 'Pretrained' in str(part.get('init_cfg')):
            part['init_cfg'] = None
        for inner in part.values():
            remove_pretrained(inner)
    elif isinstance(part, list):
        for inner in part:
            remove_pretrained(inner)


class Clock(Hook):
    """Seconds of the epoch."""

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Start; what the cache's hook does to begin an epoch counts."""
        self._start = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._start


def epoch(cfg: Config, kind: str, folder: Path) -> tuple[float, Runner]:
    """Train for an epoch; its seconds, and the Runner."""
    cfg = copy.deepcopy(cfg)
    if kind == ALONE:
        remove_mentors(cfg)
    elif kind == CACHED:
        cfg.model.cache = dict(dir=str(folder / 'cache'), views=1)
    cfg.work_dir = str(folder / 'work')
    for manager in (MessageHub, MMLogger):
        manager._instance_dict.clear()  # MMEngine names those of a Runner by the second
    runner = Runner.from_cfg(cfg)
    clock = Clock()
    runner.register_hook(clock)
    runner.train()
    return clock.seconds, runner


def measure(cfg: Config, folder: Path, args: argparse.Namespace) -> None:
    """Take turns, and print the ratios."""
    _, runner = epoch(cfg, CACHED, folder)  # fills it
    classroom = classroom_of(runner)
    size = tuple(reversed(runner.train_dataloader.dataset[0]['inputs'].shape[1:]))
    student, *mentors = member_costs(classroom, size)
    promised = 1 + sum(mentors) / (3 * student)
    record = classroom.cache.size() / args.samples / len(classroom.mentors)
    del runner, classroom
    times: dict[str, list[float]] = {ALONE: [], CACHED: [], ONLINE: []}
    for index in range(args.rounds):
        kinds = [ALONE, CACHED] + ([ONLINE] if index < args.online_rounds else [])
        for kind in kinds[:: 1 if index % 2 == 0 else -1]:
            times[kind].append(epoch(cfg, kind, folder)[0])
            print(f'round {index + 1} of {args.rounds}: {kind} {times[kind][-1]:.2f} s', flush=True)
    ratios = [cached / alone for cached, alone in zip(times[CACHED], times[ALONE])]
    online = [whole / alone for whole, alone in zip(times[ONLINE], times[ALONE])]
    print(
        f'{args.samples} samples: {CACHED} {statistics.median(ratios):.3f} times {ALONE} '
        f'({min(ratios):.3f} to {max(ratios):.3f}); {ONLINE} '
        f'{statistics.median(online):.2f} times, by FLOPs of the steps {promised:.2f}; '
        f'{record:,.0f} bytes a record'
    )
    rates = (f'{args.samples / statistics.median(times[kind]):.1f} {kind}' for kind in times)
    print(f'samples/s: {", ".join(rates)}')


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    try:
        ((_, cfg),) = classrooms(args.config).items()
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), args.samples)
            measure(prepared(cfg, Path(folder), args), Path(folder), args)
    except (ClassroomError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
