#!/usr/bin/env python
"""Compare the time of the mentors with each of the options that make a mentor faster.

Each mentor of a classroom predicts the same batch with no option, with ``channels_last``,
``compile``, ``precision='bf16'``, and with all of them. The variants are timed alternately in one
process, so other load on the machine affects all of them. Weights are random and samples are
generated, so nothing is read or downloaded.

Examples:
    python tools/benchmark_mentors.py pose
    python tools/benchmark_mentors.py configs/classroomkd/hrnet_coco.py --device cuda
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

import _common  # noqa: F401
import torch
from benchmark_step import PRESETS, build, classrooms, generated_batch, measure
from mmengine.config import Config

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.mentors.entry import as_entry
from mmkd_classroom.tables import markdown_table

VARIANTS = {
    'no option': {},
    'channels_last': dict(channels_last=True),
    'compile': dict(compile=True),
    'bf16': dict(precision='bf16'),
    'all three': dict(channels_last=True, compile=True, precision='bf16'),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help=f'{", ".join(PRESETS)}, or the config of a classroom')
    parser.add_argument('--batch-size', type=int, help="by default the preset's, or the config's")
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--rounds', type=int, default=10, help='times that each is measured')
    return parser.parse_args(argv)


def milliseconds(cfg: Config, device: str, rounds: int) -> dict[str, tuple[float, ...]]:
    """Median time of a batch, for each mentor and variant."""
    entries = [dict(as_entry(mentor, 'model.mentors')) for mentor in cfg.model.mentors]
    names = [entry.pop('name', None) or f'mentor {i}' for i, entry in enumerate(entries)]
    cfg.model.mentors = [
        dict(entry, name=f'{name}, {title}', **options)
        for name, entry in zip(names, entries)
        for title, options in VARIANTS.items()
    ]
    classroom, _ = build(cfg, device)
    batch = generated_batch(cfg, getattr(classroom.head, 'num_classes', 0))
    classroom.prepare(batch['data_samples'])
    inputs = classroom.data_preprocessor(batch, True)['inputs']
    parts = {m.name: lambda m=m: m.predict(inputs) for m in classroom.mentors}
    wait = torch.cuda.synchronize if device.startswith('cuda') else lambda: None
    print(f'compiling {len(names)} mentors twice', flush=True)
    measure(parts, 2, 1, wait)
    medians = (1e3 * statistics.median(each) for each in measure(parts, rounds, 1, wait).values())
    return dict(zip(names, zip(*[medians] * len(VARIANTS))))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    try:
        ((name, cfg),) = classrooms(args.config).items()
        if args.batch_size:
            cfg.train_dataloader.batch_size = args.batch_size
        print(f'{name}: batch of {cfg.train_dataloader.batch_size}, {args.device}', flush=True)
        times = milliseconds(cfg, args.device, args.rounds)
    except (ClassroomError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    rows = [
        [name, f'{first:.1f} ms', *(f'{each / first:.2f}' for each in others)]
        for name, (first, *others) in times.items()
    ]
    print(markdown_table(['mentor', *VARIANTS], rows))


if __name__ == '__main__':
    main()
