#!/usr/bin/env python
"""Mean and spread of the last validation over several runs of each of several configs.

    python tools/summarize.py --metric PCK alone=work_dirs/alone_s* classroom=work_dirs/classroom_s*

prints a Markdown table. Runs are paired in the order of their folders' names (the seeds), and the
gain over the first group is the mean and standard deviation of the paired differences.
"""

import argparse
import glob
import json
import statistics
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('groups', nargs='+', metavar='NAME=GLOB', help='work dirs of one config')
    parser.add_argument('--metric', action='append', required=True, help='as the log names it')
    parser.add_argument('--scale', type=float, default=1.0, help='factor, such as 100 for percent')
    return parser.parse_args()


def last_value(work_dir: str, metric: str) -> float:
    """The metric's last value in the newest run of a work dir."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'), reverse=True)
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        values = [row[metric] for row in rows if metric in row]
        if values:
            return values[-1]
    sys.exit(f'{work_dir}: no run in it has logged {metric!r}.')


def spread(values: list[float]) -> str:
    """Mean and, of two values or more, the sample standard deviation."""
    deviation = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.2f}{deviation}'


def main() -> None:
    args = parse_args()
    groups: dict[str, list[str]] = {}
    for group in args.groups:
        name, _, pattern = group.partition('=')
        groups[name] = sorted(path for path in glob.glob(pattern) if Path(path).is_dir())
        if not groups[name]:
            sys.exit(f'{group}: no such folder.')
    columns = [f'{metric} | gain' for metric in args.metric]
    print(f'| run | runs | {" | ".join(columns)} |')
    print('|---' * (2 + 2 * len(args.metric)) + '|')
    first = next(iter(groups))
    for name, folders in groups.items():
        cells = []
        for metric in args.metric:
            values = [args.scale * last_value(folder, metric) for folder in folders]
            base = [args.scale * last_value(folder, metric) for folder in groups[first]]
            paired = name != first and len(values) == len(base)
            gain = spread([a - b for a, b in zip(values, base)]) if paired else ''
            cells += [spread(values), gain]
        print(f'| {name} | {len(folders)} | {" | ".join(cells)} |')


if __name__ == '__main__':
    main()
