#!/usr/bin/env python
"""Try the stock configs of MMPose and MMPretrain as students and as mentors, and write a table.

Each config is tried in a separate process. First the stock model makes one training step on one
image with generated labels, loaded by its own pipeline. Then the config is used as the student of a
mentor with the same config, and as the mentor of a small standard student. As a student, its own
losses must be bitwise equal to those of the stock step, and its learning rates must be the same.
Weights are random, so nothing is downloaded. An interrupted sweep continues where it stopped.

Examples:
    python tools/sweep_zoo.py                   # every pose config, each kind of classifier
    python tools/sweep_zoo.py --all --jobs 8
    python tools/sweep_zoo.py --only 'rtmpose-[sm]_' --roles student
    python tools/sweep_zoo.py --again           # what was not 'ok' is tried again
"""

import argparse
import os
import re
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import _common  # noqa: F401  (an unsupported environment is reported before all else)
import torch
from _zoo import EXCLUDED, ROLES, STOCK, examine, kind_of
from _zoo_table import table

from mmkd_classroom.benchmark.jobs import clock
from mmkd_classroom.benchmark.store import ResultStore, locked
from mmkd_classroom.hub import package_configs


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--package', choices=EXCLUDED, help='one of the two alone')
    parser.add_argument('--only', default='', metavar='REGEX', help='configs whose name it finds')
    parser.add_argument('--all', action='store_true', help='every classifier, not one of each kind')
    parser.add_argument('--roles', nargs='+', choices=ROLES, default=ROLES)
    parser.add_argument('--again', action='store_true', help="what was not 'ok' before, too")
    parser.add_argument('--jobs', type=int, default=1, help='configs at a time, one thread each')
    parser.add_argument('--time-limit', type=float, default=600, help='seconds for a config')
    parser.add_argument('--memory-limit', type=float, default=8, help='GiB for a config')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/zoo'))
    parser.add_argument('--out', type=Path, default=Path('docs/zoo.md'))
    return parser.parse_args(argv)


# --- which configs -------------------------------------------------------------------------------


def stock_configs(package: str) -> list[str]:
    """Return all stock configs of an installed package except the excluded ones.

    Returns:
        Names ``package::path``.
    """
    root = package_configs(package)
    paths = [path.relative_to(root) for path in sorted(root.rglob('*.py'))]
    return [
        f'{package}::{path.as_posix()}'
        for path in paths
        if '_base_' not in path.parts
        and not any(re.search(pattern, path.as_posix()) for pattern in EXCLUDED[package])
    ]


def chosen(args: argparse.Namespace) -> list[str]:
    """Return the configs that the command line selects.

    The first config of each kind comes before the second of any kind, so that problems of a kind
    are found early.
    """
    kinds: dict[str, list[str]] = {}
    for package in [args.package] if args.package else EXCLUDED:
        for name in stock_configs(package):
            if re.search(args.only, name):
                kinds.setdefault(kind_of(name), []).append(name)
    ranked = [(rank, name) for kind in kinds.values() for rank, name in enumerate(kind)]
    ranked.sort(key=lambda item: (item[0], item[1].partition('::')[2]))
    one_each = not (args.all or args.only)
    return [name for rank, name in ranked if not (rank and one_each and 'mmpretrain::' in name)]


# --- the children --------------------------------------------------------------------------------


def sweep(names: Sequence[str], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Try configs, ``args.jobs`` at a time, each in a fork of this process.

    Yields:
        ``dict(run_id=name, seconds=..., outcomes={role: outcome})``, in the order of completion.
    """
    waiting, running = list(reversed(names)), {}
    while waiting or running:
        while waiting and len(running) < args.jobs:
            child = Child(waiting.pop(), args)
            running[child.pipe] = child
        soonest = min(child.deadline for child in running.values())
        ready = connection.wait(list(running), timeout=max(0.0, soonest - time.monotonic()))
        for pipe, child in list(running.items()):
            if pipe in ready:
                child.read()
            elif time.monotonic() >= child.deadline:
                child.end(f'more than {args.time_limit:g} s')
            if child.done:
                yield child.record()
                del running[pipe]


class Child:
    """A process that tries one config, and its outcomes so far."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name, self.roles = name, [STOCK, *args.roles]
        self.outcomes: dict[str, str] = {}
        self.done = False
        self._start = time.monotonic()
        self.deadline = self._start + args.time_limit
        context = get_context('fork')  # the packages are imported already
        self._scratch = tempfile.TemporaryDirectory(dir=args.work_dir)
        self.pipe, theirs = context.Pipe(duplex=False)
        log = args.work_dir / 'logs' / f'{re.sub("[^a-zA-Z0-9.-]+", "_", name)}.log'
        self._process = context.Process(
            target=_in_child,
            args=(name, args.roles, Path(self._scratch.name), args.memory_limit, log, theirs),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def read(self) -> None:
        """Read one outcome. If the pipe is closed, the process has ended."""
        try:
            role, outcome = self.pipe.recv()
            self.outcomes[role] = outcome
        except EOFError:
            self._process.join()
            self.end(f'exit code {self._process.exitcode}')

    def end(self, reason: str) -> None:
        """End the process; ``reason`` is the outcome of the role that it was trying."""
        self._process.kill()
        self._process.join()
        left = [role for role in self.roles if role not in self.outcomes]
        kind = 'fails' if STOCK in left else 'CRASH'
        self.outcomes.update(zip(left, [f'{kind}: {reason}', *['–'] * len(left)]))
        self.pipe.close()
        self._scratch.cleanup()
        self.done = True

    def record(self) -> dict[str, Any]:
        """Return the result."""
        seconds = round(time.monotonic() - self._start, 1)
        return dict(run_id=self.name, seconds=seconds, outcomes=self.outcomes)


def _in_child(name: str, roles: list[str], scratch: Path, gib: float, log: Path, pipe: Any) -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for outcome in examine(name, roles, scratch):
        pipe.send(outcome)


def main(argv: Sequence[str] | None = None) -> None:
    """Sweep, and write the table after every config."""
    args = parse_args(argv)
    torch.set_num_threads(1)  # a fork with threads would hang; also keeps results bitwise equal
    for package in [args.package] if args.package else EXCLUDED:
        import_module(f'{package}.utils').register_all_modules(init_default_scope=False)
    import_module('mmkd_classroom.hooks')
    command = shlex.join(
        ['python', 'tools/sweep_zoo.py', *(sys.argv[1:] if argv is None else argv)]
    )
    with locked(args.work_dir):
        store = ResultStore(args.work_dir)
        names = chosen(args)
        left = [name for name in names if not is_done(store.find(name), args)]
        print(f'{len(names)} configs, {len(names) - len(left)} of them done before', flush=True)
        write(args.out, names, store, command)
        start = time.monotonic()
        for done, record in enumerate(sweep(left, args), start=1):
            store.add(merged(store.find(record['run_id']), record))
            write(args.out, names, store, command)
            rest = (time.monotonic() - start) / done * (len(left) - done)
            print(f'[{done}/{len(left)}] {told(record)}, {clock(rest)} left', flush=True)
    print(f'Written: {args.out}')


def is_done(record: dict[str, Any] | None, args: argparse.Namespace) -> bool:
    """Whether an earlier sweep tried all roles."""
    outcomes = (record or {}).get('outcomes', {})
    if args.again and not set(outcomes.values()) <= {'ok', '–'}:
        return False
    return {STOCK, *args.roles} <= set(outcomes)


def merged(before: dict[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
    """Add the roles of an earlier sweep to a record."""
    return dict(record, outcomes={**(before or {}).get('outcomes', {}), **record['outcomes']})


def told(record: dict[str, Any]) -> str:
    """Format a line about one config."""
    outcomes = ', '.join(f'{role} {what}' for role, what in record['outcomes'].items())
    return f'{record["run_id"]}: {outcomes}; {record["seconds"]} s'


def write(path: Path, names: Sequence[str], store: ResultStore, command: str) -> None:
    """Write the table of the results so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table([r for name in names if (r := store.find(name))], command))


if __name__ == '__main__':
    main()
