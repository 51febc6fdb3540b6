#!/usr/bin/env python3
"""Say what is installed, what fits together, and the remedy for what is missing or wrong.

    python tools/check_env.py [--need pose classification ...]

Each package is really imported, in a process of its own, so that a crash is reported as well.
The exit code is 0 where every need is met; without --need, where poses or classes can be distilled.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PROBE_TIMEOUT_S = 900  # a cold disk, a busy machine: torch and MMPose are hundreds of megabytes


def load_environment() -> ModuleType:
    """Load environment.py by its path: importing the package would raise what we are to explain."""
    path = ROOT / 'mmkd_classroom' / 'environment.py'
    spec = importlib.util.spec_from_file_location('mmkd_classroom_environment', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


environment = load_environment()


def main(argv: list[str] | None = None) -> int:
    uses = sorted({package.needed_for for package in environment.PACKAGES} - {'core'})
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--need', nargs='+', choices=uses, metavar='USE', help=', '.join(uses))
    args = parser.parse_args(argv)

    print(f'Python {platform.python_version()} ({sys.executable})')
    found = survey()
    print_table(found)
    print_devices(found)
    print_remedies(found)

    broken = {problem.needed_for for problem in found.values() if problem}
    if 'core' in broken:
        broken.update(uses)
    ready = [use for use in uses if use not in broken]
    needed = args.need or [use for use in environment.DOMAINS if use in ready]
    if needed and set(needed) <= set(ready):
        print(f'Ready for: {", ".join(ready)}.')
        return 0
    lacking = args.need or environment.DOMAINS
    print(f'Not ready for: {", ".join(use for use in lacking if use in broken)}.')
    return 1


def survey() -> dict[str, environment.Problem | None]:
    """Return the problem of each package by its name, or None: metadata first, then imports."""
    packages = environment.PACKAGES
    found = {package.name: environment.metadata_problem(package) for package in packages}
    present = [package for package in packages if found[package.name] is None]
    # All in one process is fastest: most of them load torch. Only where that fails, one by one.
    if probe('; '.join(package.probe for package in present)) is None:
        return found
    # Two at a time: each loads torch, hence a few hundred megabytes.
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        errors = list(pool.map(lambda package: probe(package.probe), present))
    # A package comes after those it imports: the remedy is that of the first with this message.
    remedies: dict[str, str] = {}
    for package, error in zip(present, errors):
        if error is not None:
            problem = environment.diagnose(package, error)
            remedy = remedies.setdefault(problem.what, problem.remedy)
            found[package.name] = dataclasses.replace(problem, remedy=remedy)
    return found


def probe(code: str) -> str | None:
    """Run a statement in a process of its own and return what it printed on failing, or None."""
    # Not in the current folder, which `-c` puts on the path.
    command = [sys.executable, '-W', 'ignore', '-c', code]
    try:
        result = subprocess.run(
            command, cwd='/', capture_output=True, text=True, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f'ImportError: `{code}` took longer than {PROBE_TIMEOUT_S} s.'
    if result.returncode < 0:
        name = signal.Signals(-result.returncode).name
        return f'{result.stderr}\nImportError: `{code}` crashed with {name}.'
    return result.stderr if result.returncode else None


def print_table(found: dict[str, environment.Problem | None]) -> None:
    print(f'\n{"package":<15} {"installed":<16} {"supported":<16} {"needed for":<15} state')
    for package in environment.PACKAGES:
        version = environment.installed_version(package.name)
        state = 'ok' if found[package.name] is None else 'WRONG' if version else 'missing'
        print(
            f'{package.name:<15} {version or "-":<16} {package.range:<16} '
            f'{package.needed_for:<15} {state}'
        )
    print()


def print_devices(found: dict[str, environment.Problem | None]) -> None:
    """Say what torch computes on here. Nothing depends on it."""
    if found['torch']:
        return
    code = (
        'import torch; c = torch.cuda; '
        'print(", ".join(c.get_device_name(i) for i in range(c.device_count())) or '
        'f"no GPU: training runs on the CPU ({torch.get_num_threads()} threads)")'
    )
    command = [sys.executable, '-W', 'ignore', '-c', code]
    result = subprocess.run(command, capture_output=True, text=True)
    print(f'Device: {result.stdout.strip() or "unknown"}')


def print_remedies(found: dict[str, environment.Problem | None]) -> None:
    """Print each remedy once, with all that it mends: one broken mmcv breaks what imports it."""
    by_remedy: dict[str, list[environment.Problem]] = {}
    for problem in filter(None, found.values()):
        by_remedy.setdefault(problem.remedy, []).append(problem)
    for remedy, problems in by_remedy.items():
        print()
        for problem in problems:
            print(f'{problem.package} (for {problem.needed_for}): {problem.what}')
        print(f'    {remedy}')
    print()


if __name__ == '__main__':
    sys.exit(main())
