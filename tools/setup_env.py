#!/usr/bin/env python3
"""Prepare the Python environment of `make test` and `make demo`; fast if it is already prepared.

    python3 tools/setup_env.py [--venv .venv] [--python EXISTING] [--need pose ...] [--cuda-ops]

In an environment made by this script (it has a marker file), the pinned packages of requirements/
are installed. Any other environment, given by --venv or --python, is only checked: missing packages
are listed, but nothing is installed or changed.

After an interruption, the next run continues: finished steps take seconds, the mmcv build continues
with the first file that is not compiled, and the built wheel is kept for other clones.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from _installer import MARKER, SetupError, ask, fill

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / '.setup'
SUPPORTED = ((3, 10), (3, 12))  # mmcv 2.1 does not build on 3.13, torch 2.11 needs 3.10
EVERYTHING = (
    'pose', 'classification', 'detection-ops', 'drawing', 'rtmpose', 'tensorboard', 'tests',
)  # fmt: skip
DISK_GB = 9  # torch's CUDA build has 4.7 GB unpacked, and pip needs space for unpacking


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    # Same as Ctrl-C: the running pip must end, too, or it would run at the same time as the next.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    STATE.mkdir(exist_ok=True)
    try:
        with locked(STATE / 'lock'):
            prepare(args)
    except SetupError as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nInterrupted. The next call goes on from here.', file=sys.stderr)
        return 130
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv')
    parser.add_argument('--python', help='interpreter of an existing environment, used as it is')
    parser.add_argument('--base-python', help='interpreter to make the environment with')
    parser.add_argument(
        '--need',
        nargs='+',
        default=EVERYTHING,
        help='what an existing environment must be complete for',
    )
    parser.add_argument('--cuda-ops', action='store_true', help="build mmcv's CUDA ops too (slow)")
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> None:
    """Create or check the environment, unless it is the same as in the last successful run."""
    venv = args.venv.absolute()
    python = find_executable(args.python) if args.python else str(venv / 'bin' / 'python')
    own = not args.python and is_own(venv)
    need = sorted(EVERYTHING if own else args.need)
    stamp = STATE / (hashlib.sha256(' '.join([python, *need]).encode()).hexdigest()[:16] + '.stamp')
    if stamp.exists() and stamp.read_text() == fingerprint(python):
        return
    if own:
        complete = ask(python, 'import pip; print(1)')
        maker = python if complete else find_base_python(args.base_python)
        check_system(maker, venv)
        fill(venv, maker, args.cuda_ops)
    else:
        print(f'Checking {python} (an existing environment: nothing in it is changed) ...')
    check = [python, str(ROOT / 'tools' / 'check_env.py'), '--need', *need]
    if subprocess.run(check).returncode != 0:
        ending = (
            'If the remedies above do not help: `make distclean`, then the same command again.'
            if own
            else 'This environment was not made by this project, so nothing in it was changed. '
            'Apply the remedies above, or leave VENV= and PYTHON= out and move a .venv that '
            'stands here away, to have one made.'
        )
        raise SetupError(ending)
    stamp.write_text(fingerprint(python))


def is_own(venv: Path) -> bool:
    """Return whether this script made the environment in this folder, or may make one there."""
    if (venv / MARKER).exists():
        return True
    if (venv / 'bin' / 'python').exists():
        return False
    if venv.is_dir() and any(venv.iterdir()):
        raise SetupError(
            f'{venv} is neither a Python environment nor empty.\n'
            'Give VENV= a new folder, or that of an existing environment (which holds bin/python).'
        )
    return True


def fingerprint(python: str) -> str:
    """Return a digest of the pinned and supported versions and the installed packages.

    It is empty if the interpreter does not run, and then differs from every stamp.
    """
    code = (
        'import importlib.metadata as m; '
        'print(sorted((str(d.name), str(d.version)) for d in m.distributions()))'
    )
    installed = ask(python, code)
    if installed is None:
        return ''
    digest = hashlib.sha256(installed.encode())
    pins = sorted((ROOT / 'requirements').glob('*.txt'))
    for path in [*pins, ROOT / 'requirements.txt', ROOT / 'mmkd_classroom' / 'environment.py']:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_base_python(wanted: str | None) -> str:
    """Return an interpreter of a supported version."""
    names = [wanted] if wanted else [sys.executable, 'python3.11', 'python3.12', 'python3.10']
    low, high = SUPPORTED
    for name in names:
        path = shutil.which(name)
        # Run it to get the version: the shim of a version manager may exist but not run.
        version = path and ask(path, 'import sys; print(*sys.version_info[:2])')
        if version and low <= tuple(map(int, version.split())) <= high:
            return path
    raise SetupError(
        f'{" / ".join(names)}: none is a Python {low[0]}.{low[1]} to {high[0]}.{high[1]}, which '
        'mmcv 2.1 and torch 2.11 need.\nInstall one (on Debian 12: sudo apt-get install python3 '
        'python3-venv python3-dev) or name it: make test BASE_PYTHON=/path/to/python3.11'
    )


def check_system(python: str, venv: Path) -> None:
    """Raise an error if system packages are missing, with the command that installs them."""
    report = ask(
        python,
        'import json, sys, sysconfig, importlib.util as u; from pathlib import Path; '
        'print(json.dumps(dict(version=sys.version_info[:2], '
        'venv=bool(u.find_spec("ensurepip") and u.find_spec("venv")), '
        'header=(Path(sysconfig.get_paths()["include"]) / "Python.h").exists())))',
    )
    facts = json.loads(report)
    name = 'python{}.{}'.format(*facts['version'])
    missing = {}
    if not facts['venv']:
        missing[f'{name}-venv'] = 'the venv module with ensurepip'
    if not facts['header']:
        missing[f'{name}-dev'] = 'Python.h'
    if not shutil.which(os.environ.get('CXX', 'c++')):
        missing['g++'] = 'a C++ compiler'
    if missing:
        raise SetupError(
            f'mmcv and xtcocotools are built here, for which {python} lacks '
            f'{", ".join(missing.values())}:\n\n'
            f'    sudo apt-get update && sudo apt-get install -y {" ".join(missing)}\n\n'
            'then the same command again. (Or use an existing OpenMMLab environment: '
            'make test VENV=/path/to/it)'
        )
    if not (venv / MARKER).exists():
        place = next(folder for folder in venv.parents if folder.exists())
        free = shutil.disk_usage(place).free / 1e9
        if free < DISK_GB:
            raise SetupError(
                f'{place} has {free:.1f} GB free; the environment needs about {DISK_GB}.\n'
                'Free some, or put it elsewhere: make test VENV=/path/with/room'
            )


def find_executable(name: str) -> str:
    """Return the absolute path of an interpreter given by path or name."""
    path = shutil.which(name)
    if path is None:
        raise SetupError(f'PYTHON={name}: there is no such program.')
    return os.path.abspath(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Allow only one call at a time to change the environments of this repository."""
    with path.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('Another call is preparing an environment here; waiting for it ...', flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == '__main__':
    sys.exit(main())
