#!/usr/bin/env python3
"""Prepare the Python environment of `make test` and `make demo`; quick when nothing is to do.

    python3 tools/setup_env.py [--venv .venv] [--python EXISTING] [--need pose ...]

An environment that this script made for this checkout (a marker file says so) is filled by uv with
the versions of requirements.txt. Any other one, whether given by --venv or --python, is used as it
is: it is checked, and what is missing is said, but nothing in it is installed or changed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / '.setup'
MARKER = 'made-by-mmkd_classroom'
SUPPORTED = ((3, 10), (3, 12))  # mmcv 2.1 does not build on 3.13, torch 2.11 needs 3.10
EVERYTHING = (
    'pose', 'classification', 'detection-ops', 'drawing', 'report', 'rtmpose', 'tensorboard',
    'tests', 'docs',
)  # fmt: skip
HEARTBEAT_S = 15


class SetupError(Exception):
    """Something the user must do first; the message says what."""


def main(argv: list[str] | None = None) -> int:
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
    args = parser.parse_args(argv)
    # As Ctrl-C does: what runs for us must end with us, or the next call would work beside it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    STATE.mkdir(exist_ok=True)
    try:
        prepare(args)
    except SetupError as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nInterrupted. The next call goes on; only a build starts anew.', file=sys.stderr)
        return 130
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Make or check the environment, unless nothing changed since that was done."""
    venv = args.venv.absolute()
    python = find_executable(args.python) if args.python else str(venv / 'bin' / 'python')
    own = not args.python and is_own(venv)
    need = sorted(EVERYTHING if own else args.need)
    name = hashlib.sha256(' '.join([python, *need]).encode()).hexdigest()[:16]
    stamp = STATE / f'{name}.stamp'
    if stamp.exists() and stamp.stat().st_mtime > changed(python):
        return
    if own:
        with locked(STATE / f'{name}.lock'):
            fill(venv, args.base_python)
    else:
        print(f'Checking {python} (an existing environment: nothing in it is changed) ...')
    check = [python, str(ROOT / 'tools' / 'check_env.py'), '--need', *need]
    if subprocess.run(check).returncode != 0:
        raise SetupError(
            'If the remedies above do not help: `make distclean`, then the same command again.'
            if own
            else 'This environment was not made by this project, so nothing in it was changed. '
            'Apply the remedies above, or leave VENV= and PYTHON= out and move a .venv that '
            'stands here away, to have one made.'
        )
    stamp.touch()


def is_own(venv: Path) -> bool:
    """Return whether this script made, or may make, the environment here for this checkout."""
    if (venv / MARKER).exists():
        checkout = (venv / MARKER).read_text().strip()
        return checkout in ('', str(ROOT)) or not Path(checkout).exists()
    if (venv / 'bin' / 'python').exists():
        return False
    if venv.is_dir() and any(venv.iterdir()):
        raise SetupError(
            f'{venv} is neither a Python environment nor empty.\n'
            'Give VENV= a new folder, or that of an existing environment (which holds bin/python).'
        )
    return True


def changed(python: str) -> float:
    """Return when packages or what is asked of them last changed; infinity where it cannot run."""
    packages = ask(python, 'import sysconfig; print(sysconfig.get_path("purelib"))')
    if packages is None:
        return float('inf')
    names = ('requirements.txt', 'pyproject.toml', 'mmkd_classroom/environment.py')
    return max(path.stat().st_mtime for path in [Path(packages), *(ROOT / n for n in names)])


def fill(venv: Path, base_python: str | None) -> None:
    """Make the environment where there is none, and have uv install what it lacks."""
    python = venv / 'bin' / 'python'
    log = venv / 'setup.log'
    start = time.monotonic()
    if ask(str(python), 'import pip') is None:
        base_python = find_base_python(base_python)
        check_system(base_python)
        print(
            f'Preparing {venv} with {base_python}, once.\nMostly two long steps: torch (a download '
            'of about 2 GB, 5 GB on disk) and building mmcv (about 10 minutes on 2 cores).',
            flush=True,
        )
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir(parents=True)
        (venv / MARKER).write_text(str(ROOT))
        run('an empty environment', [base_python, '-m', 'venv', str(venv)], log)
    (venv / MARKER).write_text(str(ROOT))
    if not (venv / 'bin' / 'uv').exists():
        run('uv', [str(python), '-m', 'pip', 'install', '-c', 'requirements.txt', 'uv'], log)
    # Byte code now: in containers PYTHONDONTWRITEBYTECODE is common, and without it each start of a
    # tool compiles thousands of files.
    packages = ['--compile-bytecode', '--no-deps', '-r', 'requirements.txt', '-e', '.']
    run(
        'the packages of requirements.txt',
        [str(venv / 'bin' / 'uv'), '-v', 'pip', 'install', '--python', str(python), *packages],
        log,
        {'MAX_JOBS': str(parallel_jobs()), **pip_s_indexes(str(python))},
    )
    seconds = int(time.monotonic() - start)
    print(f'The environment is there after {seconds // 60} min {seconds % 60} s.', flush=True)


def run(title: str, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
    """Run a command into the log and print every few seconds how far it is.

    Raises:
        SetupError: The command failed; holds its first errors and the end of its output.
    """
    print(f'[{time.strftime("%H:%M:%S")}] {title} (log: {log})', flush=True)
    start = time.monotonic()
    with log.open('ab+') as file:
        offset = file.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # so that compilers can be ended with it
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(HEARTBEAT_S)
                    break
                step = last_step(log.read_bytes()[offset:])
                print(f'{time.monotonic() - start:14.0f} s: {step}', flush=True)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):  # it may have ended as well
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if process.returncode != 0:
        lines = told(log.read_bytes()[offset:])
        errors = [line for line in lines[:-15] if re.search(r'\berror: |Killed|No space', line)]
        raise SetupError(
            '\n'.join([*errors[:5], '[...]', *lines[-15:]])
            + f'\n\n{title}: failed. The whole output is in {log}'
        )


def told(output: bytes) -> list[str]:
    """Return the lines that say something, without uv's own debugging."""
    lines = output.decode(errors='replace').splitlines()
    return [line[:300] for line in lines if line.strip() and not line.startswith('DEBUG')]


def last_step(output: bytes) -> str:
    """Return how far it is by the log: what pip or uv do, files of mmcv compiled, or the test."""
    words = rb'Collecting|Download|Resolved|Buil|Prepared|Installed \d|Bytecode|tests/'
    steps = re.findall(rb'^ *((?:%b).{,80}|(?:DEBUG )?\[\d+/\d+\])' % words, output, re.MULTILINE)
    step = steps[-1].decode().removeprefix('DEBUG ') if steps else ''
    return f'files compiled: {step}' if step.startswith('[') else step


def parallel_jobs() -> int:
    """Return how many compilers fit this machine: one a core, and 2 GB of memory for each."""
    memory_gb = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / 2)))


def pip_s_indexes(python: str) -> dict[str, str]:
    """Return uv's variables for the mirrors that pip is configured with, which uv does not read."""
    command = [python, '-m', 'pip', 'config', 'list']
    config = subprocess.run(command, capture_output=True, text=True).stdout
    names = {
        'index-url': 'UV_DEFAULT_INDEX',
        'extra-index-url': 'UV_INDEX',
        'find-links': 'UV_FIND_LINKS',
    }
    found = dict(re.findall(r"^\S+?\.([\w-]+)='(.*)'$", config, re.MULTILINE))
    env = {uv: found[pip] for pip, uv in names.items() if pip in found and uv not in os.environ}
    return {**env, 'UV_INDEX_STRATEGY': 'unsafe-best-match'} if env else {}


def find_base_python(wanted: str | None) -> str:
    """Return an interpreter of a supported version."""
    names = [wanted] if wanted else [sys.executable, 'python3.11', 'python3.12', 'python3.10']
    low, high = SUPPORTED
    for name in names:
        path = shutil.which(name)
        # Asked, not trusted by its name: a version manager's shim may be there and not run.
        version = path and ask(path, 'import sys; print(*sys.version_info[:2])')
        if version and low <= tuple(map(int, version.split())) <= high:
            return path
    raise SetupError(
        f'{" / ".join(names)}: none is a Python {low[0]}.{low[1]} to {high[0]}.{high[1]}, which '
        'mmcv 2.1 and torch 2.11 need.\nInstall one (on Debian 12: sudo apt-get install python3 '
        'python3-venv python3-dev) or name it: make test BASE_PYTHON=/path/to/python3.11'
    )


def check_system(python: str) -> None:
    """Raise where something is missing that pip cannot install, with the one command for all."""
    code = (
        'import sys, sysconfig, importlib.util as u; from pathlib import Path; '
        'print("python%d.%d" % sys.version_info[:2], bool(u.find_spec("ensurepip")), '
        '(Path(sysconfig.get_path("include")) / "Python.h").exists())'
    )
    name, ensurepip, header = ask(python, code).split()
    there = {
        f'{name}-venv': ensurepip == 'True',
        f'{name}-dev': header == 'True',
        'g++': shutil.which(os.environ.get('CXX', 'c++')),
    }
    missing = ' '.join(package for package, found in there.items() if not found)
    if missing:
        raise SetupError(
            f'mmcv and xtcocotools are built here, for which {missing} is missing:\n\n'
            f'    sudo apt-get update && sudo apt-get install -y {missing}\n\n'
            'then the same command again. (Or use an existing OpenMMLab environment: '
            'make test VENV=/path/to/it)'
        )


def find_executable(name: str) -> str:
    """Return the absolute path of an interpreter given by path or by name."""
    path = shutil.which(name)
    if path is None:
        raise SetupError(f'PYTHON={name}: there is no such program.')
    return os.path.abspath(path)


def ask(python: str, code: str) -> str | None:
    """Return what an interpreter prints for this code, or None where it fails."""
    try:
        # From `/`, because `-c` puts the current folder on the path.
        result = subprocess.run([python, '-c', code], cwd='/', capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one call at a time work on an environment, and say every few seconds who waits."""
    with path.open('w') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                print('Another call is preparing this environment: waiting for it ...', flush=True)
                time.sleep(HEARTBEAT_S)
        yield


if __name__ == '__main__':
    sys.exit(main())
