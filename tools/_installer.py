"""Install the packages of requirements/ with pip, including two builds from source.

Used by setup_env.py. It uses only the standard library, because it runs before any installation.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKER = 'made-by-mmkd_classroom'
HEARTBEAT_S = 15


class SetupError(Exception):
    """Raised if the user must do something first; the message explains it."""


def fill(venv: Path, base_python: str, cuda_ops: bool) -> None:
    """Install everything, in the order that the builds need."""
    print(
        f'Preparing {venv} with {base_python}, once.\n'
        'Mostly two long steps: torch (a download of about 2 GB) and building mmcv (about 10 '
        f'minutes on 2 cores). What each step prints is in {venv / "setup.log"}.',
        flush=True,
    )
    start = time.monotonic()
    create(venv, base_python)
    installer = Installer(venv)
    requirements = ROOT / 'requirements'
    constraints = ('-c', str(requirements / 'constraints.txt'))
    installer.pip('build tools', '-r', str(requirements / 'build.txt'))
    installer.pip(
        'torch and what the OpenMMLab packages import',
        '-r',
        str(ROOT / 'requirements.txt'),
        *constraints,
    )
    installer.pip(
        'mmengine, mmpose, mmdet, mmpretrain',
        '--no-deps',
        '-r',
        str(requirements / 'openmmlab.txt'),
    )
    install_xtcocotools(installer)
    install_mmcv(installer, cuda_ops)
    # Without isolation, which would download setuptools again.
    installer.pip('mmkd_classroom (editable)', '--no-deps', '--no-build-isolation', '-e', str(ROOT))
    print(f'The environment is there after {spell(time.monotonic() - start)}.', flush=True)


def create(venv: Path, base_python: str) -> None:
    """Create the environment, also if an interrupted run left one without pip."""
    marker = venv / MARKER
    if ask(str(venv / 'bin' / 'python'), 'import pip; print(1)'):
        return
    venv.mkdir(parents=True, exist_ok=True)
    marker.touch()
    # Not `venv --clear`, which also removes the marker: if it is interrupted, the next call would
    # assume that the user made this environment.
    for path in venv.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()
    command = [base_python, '-m', 'venv', str(venv)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SetupError(f'{base_python} -m venv {venv} failed:\n{result.stdout}{result.stderr}')


class Installer:
    """Runs pip in one environment, with a log, progress output, and a record of unfinished steps.

    The marker file has the titles of the steps that started and did not finish. Such a step may
    leave a package that pip regards as installed, so the next run installs all its packages again.
    """

    def __init__(self, venv: Path) -> None:
        self.venv = venv
        self.python = str(venv / 'bin' / 'python')
        self.log = venv / 'setup.log'
        self._marker = venv / MARKER
        self._unfinished = self._marker.read_text().splitlines()

    def pip(self, title: str, *args: str) -> None:
        """Run ``pip install`` with these arguments."""
        repair = ['--ignore-installed'] if title in self._unfinished else []
        others = [other for other in self._unfinished if other != title]
        self._note([*others, title])
        self.run(title, [self.python, '-m', 'pip', 'install', *repair, *args])
        self._note(others)

    def _note(self, unfinished: list[str]) -> None:
        self._unfinished = unfinished
        self._marker.write_text('\n'.join(unfinished))

    def imports(self, statement: str) -> bool:
        """Return whether the environment's Python can run this statement."""
        return ask(self.python, f'{statement}; print(1)') is not None

    def version(self, name: str) -> str | None:
        """Return the installed version of a distribution, or None."""
        return ask(self.python, f'from importlib.metadata import version; print(version({name!r}))')

    def run(
        self,
        title: str,
        command: list[str],
        env: dict[str, str] | None = None,
        progress: Callable[[], str] | None = None,
    ) -> None:
        """Run a command with its output in the log, and print the progress every few seconds.

        Args:
            title: Name of the step in the output.
            command: The command.
            env: Additional environment variables.
            progress: Returns the progress. Default: the last line of the log.

        Raises:
            SetupError: The command failed; the message has the end of its output.
        """
        progress = progress or (lambda: last_line(self.log))
        print(f'[{time.strftime("%H:%M:%S")}] {title}', flush=True)
        start = time.monotonic()
        with self.log.open('ab') as log:
            log.write(f'\n##### {title}: {" ".join(command)}\n'.encode())
            log.flush()
            offset = log.tell()
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # so that compilers started by pip can be ended, too
            )
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(HEARTBEAT_S)
                        break
                    elapsed = spell(time.monotonic() - start)
                    print(f'           {elapsed}: {progress()}', flush=True)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):  # it may have ended already
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        if process.returncode != 0:
            output = self.log.read_bytes()[offset:].decode(errors='replace')
            raise SetupError(
                f'{essence(output)}\n\n{title}: failed. The whole output is in {self.log}\n'
                'Once the cause is mended, the next call goes on from here.'
            )


def install_xtcocotools(installer: Installer) -> None:
    """Build xtcocotools for the installed numpy, unless a working one is installed."""
    requirement = pinned('xtcocotools')
    works = 'from xtcocotools.coco import COCO'
    args = ('--no-deps', '--no-build-isolation', '--no-binary', 'xtcocotools', requirement)
    if f'xtcocotools=={installer.version("xtcocotools")}' == requirement and installer.imports(
        works
    ):
        return
    installer.pip('xtcocotools (a short build)', *args)
    if not installer.imports(works):
        # pip's cache identifies wheels only by version; this one was built for another numpy.
        installer.pip(
            'xtcocotools, not from the cache', '--no-cache-dir', '--force-reinstall', *args
        )


def install_mmcv(installer: Installer, cuda_ops: bool) -> None:
    """Install mmcv with compiled ops, from a wheel built for this torch or by building one."""
    requirement = pinned('mmcv')
    works = 'import mmcv.ops'
    if f'mmcv=={installer.version("mmcv")}' == requirement and installer.imports(works):
        return
    torch = ask(installer.python, 'import torch; print(torch.__version__)')
    if torch is None:
        raise SetupError(f'torch does not import in {installer.venv}: `make distclean`, and again.')
    kind = 'cuda' if cuda_ops else 'cpu'
    kept = cache_folder() / f'{requirement.replace("==", "-")}-torch-{torch}-{kind}'
    tag = ask(installer.python, 'import sys; print("cp%d%d" % sys.version_info[:2])')
    name = f'{requirement.replace("==", "-")}-{tag}-*{platform.machine()}.whl'
    wheels = sorted(kept.glob(name))
    if not cuda_ops:
        wheels += pip_cached_wheels(installer, name)
    for wheel in wheels:
        installer.pip(
            f'mmcv, as built before ({wheel.name})', '--no-deps', '--force-reinstall', str(wheel)
        )
        if installer.imports(works):
            return
        print('           built against another torch: not usable', flush=True)
    folder = installer.venv / 'build-mmcv'
    wheel = build_mmcv(installer, folder, requirement, cuda_ops)
    installer.pip('mmcv', '--no-deps', '--force-reinstall', str(wheel))
    if installer.imports(works):
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel, kept / 'partial')
        (kept / 'partial').rename(kept / wheel.name)
    shutil.rmtree(folder)


def build_mmcv(installer: Installer, folder: Path, requirement: str, cuda_ops: bool) -> Path:
    """Build mmcv's wheel in a folder that is kept after an interruption.

    ninja compiles in this folder and skips compiled files, so a second call continues.
    """
    source = folder / requirement.replace('==', '-')
    env = {
        'MMCV_WITH_OPS': '1',
        'MAX_JOBS': str(parallel_jobs()),
        # Independent of the machine's GPU: the CUDA ops take far longer to compile, and no model
        # here uses them.
        'FORCE_CUDA': '1' if cuda_ops else '0',
    }
    if not cuda_ops:
        env['CUDA_VISIBLE_DEVICES'] = ''
    pip = [installer.python, '-m', 'pip']
    if not (source / 'setup.py').exists():
        shutil.rmtree(folder, ignore_errors=True)
        options = ['--no-deps', '--no-build-isolation', '--no-binary', 'mmcv', '-d', str(folder)]
        installer.run('mmcv: sources', [*pip, 'download', *options, requirement], env)
        unpacked = folder / 'unpacked'
        shutil.unpack_archive(next(folder.glob('mmcv-*.tar.gz')), unpacked)
        next(unpacked.iterdir()).rename(source)  # last, so an incomplete folder is not used
    title = f'building mmcv, about 10 minutes on 2 cores, once ({env["MAX_JOBS"]} at a time)'
    command = [*pip, 'wheel', '-v', '--no-deps', '--no-build-isolation', '--no-index']
    installer.run(
        title,
        [*command, '-w', str(folder), str(source)],
        env,
        lambda: compiled(source),
    )
    return next(folder.glob('mmcv-*.whl'))


def compiled(source: Path) -> str:
    """Return the progress of mmcv's build, such as '31 of 78 files compiled'."""
    plans = list(source.glob('build/temp*/build.ninja'))
    if not plans:
        return 'configuring'
    total = len(re.findall(r'^build \S+\.o:', plans[0].read_text(), re.MULTILINE))
    done = len(list(plans[0].parent.rglob('*.o')))
    return f'{done} of {total} files compiled' if done < total else 'linking'


def pip_cached_wheels(installer: Installer, name: str) -> list[Path]:
    """Return mmcv wheels in pip's cache. Only an import shows whether they fit this torch."""
    command = [installer.python, '-m', 'pip', 'cache', 'list', '--format=abspath', 'mmcv']
    listed = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return [Path(line) for line in listed if fnmatch.fnmatch(Path(line).name, name)]


def pinned(name: str) -> str:
    """Return the line of requirements/source.txt for this package."""
    lines = (ROOT / 'requirements' / 'source.txt').read_text().splitlines()
    return next(line.strip() for line in lines if line.startswith(f'{name}=='))


def parallel_jobs() -> int:
    """Return the number of parallel compilers: one per core, with 2 GB of memory for each."""
    memory_gb = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / 2)))


def cache_folder() -> Path:
    """Return the folder for built wheels, which all clones share."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmkd_classroom'


def ask(python: str, code: str) -> str | None:
    """Return the output of an interpreter for this code, or None if it fails."""
    try:
        # In `/`, because `-c` adds the current folder to the path.
        result = subprocess.run([python, '-c', code], cwd='/', capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def essence(output: str) -> str:
    """Return the first errors and the end of a failed command's output.

    The tracebacks of all waiting processes follow the error of a compiler.
    """
    lines = [line[:300] for line in output.splitlines() if line.strip()]
    errors = [line for line in lines[:-15] if re.search(r'\berror: |Killed|No space left', line)]
    return '\n'.join([*errors[:5], '[...]', *lines[-15:]])


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty or a warning, shortened."""
    lines = log.read_bytes()[-4096:].decode(errors='replace').replace('\r', '\n').splitlines()
    told = [line.strip() for line in lines if line.strip() and not line.startswith('WARNING')]
    return told[-1][:90] if told else ''


def spell(seconds: float) -> str:
    """Format a duration, such as '3 min 10 s'."""
    minutes, seconds = divmod(int(seconds), 60)
    return f'{minutes} min {seconds:02d} s' if minutes else f'{seconds} s'
