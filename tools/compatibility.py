#!/usr/bin/env python
"""Try this project with other versions of Python, torch and OpenMMLab, and write the table.

For each row, uv makes an environment in FOLDER, mmcv is built there (once for each mmcv, Python
and minor version of torch), check_env.py is asked, and some of the tests are run. A finished row is
not done again, so an interrupted call continues where it stopped; with --again it is. What ended
before its tests is tried again.

Examples:
    python tools/compatibility.py FOLDER --list
    python tools/compatibility.py FOLDER                        # all rows: about 5 GB each
    python tools/compatibility.py FOLDER --rows oldest forks --again
    python tools/compatibility.py FOLDER --table docs/compatibility.md      # writes the table alone

FOLDER keeps environments, wheels, logs and `results.jsonl`. Rows need the interpreter that they
name (`python3.12`, with its headers) on the PATH, and a C++ compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setup_env import ROOT, SetupError, find_executable, parallel_jobs, pip_s_indexes, run

sys.path.insert(0, str(ROOT))
from mmkd_classroom.tables import markdown_table  # noqa: E402

# --- the rows ------------------------------------------------------------------------------------

POSE = {'mmpose': '1.3.2', 'xtcocotools': '1.14.3', 'albumentations': '1.3.1'}
STOCK = {'mmcv': '2.1.0', 'mmengine': '0.10.7', 'mmpretrain': '1.2.0', 'mmdet': '3.3.0', **POSE}
OLD = {'mmengine': '0.10.0', 'mmpose': '1.3.0', 'mmpretrain': '1.1.1', 'mmdet': '3.2.0'}
# Maintained forks with the same import names; there is none of MMPose.
FORKS = {
    'onedl-mmcv': '2.3.6',
    'onedl-mmengine': '0.10.12',
    'onedl-mmpretrain': '1.3.6',
    'onedl-mmdetection': '3.5.1',
    **POSE,
}


def torch(version: str, torchvision: str, numpy: str) -> dict[str, str]:
    """A pair of torch and its torchvision, with a numpy of their time."""
    return {'torch': version, 'torchvision': torchvision, 'numpy': numpy}


TORCH_2_1 = torch('2.1.2', '0.16.2', '1.26.4')
TORCH_2_11 = torch('2.11.0', '0.26.0', '2.3.5')
ROWS = {
    'torch 2.1': ('3.10', TORCH_2_1 | STOCK),
    'oldest': ('3.10', TORCH_2_1 | STOCK | OLD),
    'torch 2.4': ('3.11', torch('2.4.1', '0.19.1', '1.26.4') | STOCK),
    'torch 2.6': ('3.12', torch('2.6.0', '0.21.0', '2.2.6') | STOCK),
    'requirements.txt': ('3.11', TORCH_2_11 | STOCK),
    'MMPose 1.3.1': ('3.11', TORCH_2_11 | STOCK | {'mmpose': '1.3.1'}),
    'MMPretrain 1.1': ('3.11', TORCH_2_11 | STOCK | {'mmpretrain': '1.1.1'}),
    'MMEngine 0.10.0': ('3.11', TORCH_2_11 | STOCK | {'mmengine': '0.10.0'}),
    'forks': ('3.11', TORCH_2_11 | FORKS),
    'newest torch': ('3.12', torch('2.14.1', '0.29.2', '2.3.5') | STOCK),
}
"""By name: Python, and versions of packages. What else they need is the newest that fits."""

# Classrooms of classes, heatmaps and SimCC in the Runner, checkpoints and resumption, what a
# strategy learns, the cache, and parity with the released codes.
RUNNER, CACHE = 'tests/test_classroom_in_a_runner.py', 'tests/cache/test_training.py'
TESTS = (
    f'{RUNNER}::test_student_and_mentors_are_a_whole_classroom',
    f'{RUNNER}::test_what_a_strategy_learns_survives_without_naming_a_hook',
    'tests/hooks/test_plain_checkpoint.py',
    f'{CACHE}::test_from_the_cache_it_is_the_same_training',
    f'{CACHE}::test_a_resumed_training_continues_from_it',
    'tests/strategies/test_parity.py',
    'tests/strategies/test_baseline_parity.py',
)
OTHERS = (
    'einops', 'opencv-python-headless', 'tensorboard', 'jinja2', 'plotly', 'hypothesis', 'pytest',
    'pytest-timeout', 'pytest-xdist', 'import-linter', "tomli; python_version < '3.11'",
)  # fmt: skip
# What builds mmcv: newer setuptools have no pkg_resources.
BUILD = ('pip', 'setuptools<81', 'wheel', 'ninja', 'psutil')


@dataclass(frozen=True)
class Row:
    """One environment.

    Args:
        name: Its name in the table.
        python: Version of Python, such as ``'3.11'``.
        packages: Version of each distribution by its name.
        folder: Where environments, wheels, logs and results are.
    """

    name: str
    python: str
    packages: dict[str, str]
    folder: Path

    @property
    def venv(self) -> Path:
        """Folder of its environment."""
        return self.folder / re.sub(r'\W+', '_', self.name)

    @property
    def interpreter(self) -> str:
        """Its Python."""
        return str(self.venv / 'bin' / 'python')

    @property
    def log(self) -> Path:
        """What all of its steps printed."""
        return self.venv.with_suffix('.log')

    def pin(self, *names: str) -> list[str]:
        """The requirements of some of its packages; all but mmcv without names."""
        names = names or tuple(name for name in self.packages if name != self.mmcv)
        return [f'{name}=={self.packages[name]}' for name in names]

    @property
    def mmcv(self) -> str:
        """Name of the distribution that holds mmcv."""
        return next(name for name in self.packages if name.endswith('mmcv'))


def main(argv: Sequence[str] | None = None) -> int:
    """Try the rows that are not done yet, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='for environments, wheels, logs and results')
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS), metavar='ROW')
    parser.add_argument('--again', action='store_true', help='also rows that are done')
    parser.add_argument('--list', action='store_true', help='show what is done, and stop')
    parser.add_argument('--keep', action='store_true', help='leave the environments there')
    parser.add_argument(
        '--table', type=Path, metavar='FILE', help='write the table alone, and stop'
    )
    args = parser.parse_args(argv)
    args.folder = args.folder.absolute()
    args.folder.mkdir(parents=True, exist_ok=True)
    store = args.folder / 'results.jsonl'
    rows = [Row(name, *ROWS[name], args.folder) for name in args.rows]
    if args.table:
        args.table.write_text(table(read(store)))
        return 0
    for row in rows:
        old = read(store).get(row.name)
        same = old is not None and (old['python'], old['packages']) == (row.python, row.packages)
        done = same and 'failed' not in old
        print(f'{row.name}: {told(old) if done else "not done yet"}', flush=True)
        if args.list or done and not args.again:
            continue
        record = examine(row)
        with store.open('a') as file:
            file.write(json.dumps(record) + '\n')
        print(f'{row.name}: {told(record)}', flush=True)
        if not args.keep:
            shutil.rmtree(row.venv, ignore_errors=True)
    return 0


# --- one row -------------------------------------------------------------------------------------


def examine(row: Row) -> dict[str, Any]:
    """Make the environment of a row and try it.

    Returns:
        The record of `results.jsonl`. ``failed`` is the step that ended it, with ``error``.
    """
    start = time.monotonic()
    record: dict[str, Any] = {
        'row': row.name,
        'python': row.python,
        'packages': row.packages,
        'date': time.strftime('%Y-%m-%d'),
        'commit': commit(),
    }
    row.log.unlink(missing_ok=True)
    for step in (make_environment, build_mmcv, install, check, test):
        try:
            record.update(step(row))
        except SetupError as error:
            lines = [
                line for line in str(error).splitlines() if re.search(r'\berror\b', line, re.I)
            ]
            record.update(failed=step.__name__, error=(lines or str(error).splitlines())[0][:300])
            break
    return {**record, 'minutes': round((time.monotonic() - start) / 60, 1)}


def make_environment(row: Row) -> dict[str, Any]:
    """An environment with torch and what builds mmcv; its versions."""
    base = find_executable(f'python{row.python}')
    run(
        f'{row.name}: environment',
        [uv(), 'venv', '--clear', '--python', base, str(row.venv)],
        row.log,
    )
    pip_install(row, 'torch, numpy', *row.pin('torch', 'torchvision', 'numpy'), *BUILD)
    return {}


def build_mmcv(row: Row) -> dict[str, Any]:
    """A wheel of mmcv with its CPU ops, unless there is one for this Python and this torch.

    Its C++ code is compiled without optimisation: no test here measures its speed. CFLAGS can say
    otherwise. Its setup.py asks for C++17, but the headers of later versions of torch need C++20.
    """
    wheels = wheel_folder(row)
    if not list(wheels.glob('*.whl')):
        path = f'{row.venv / "bin"}{os.pathsep}{os.environ["PATH"]}'  # ninja is there
        variables = dict(MMCV_WITH_OPS='1', FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='', PATH=path)
        variables.update(CFLAGS=os.environ.get('CFLAGS', '-O0 -g0'), MAX_JOBS=str(parallel_jobs()))
        pip = [row.interpreter, '-m', 'pip']
        options = ['-v', '--no-build-isolation', '--no-deps', '--no-cache-dir']
        source = row.venv / 'source'
        download = [*pip, 'download', *options, '--no-binary', ':all:', '-d', str(source)]
        run(f'{row.name}: source of mmcv', [*download, *row.pin(row.mmcv)], row.log, variables)
        (archive,) = source.glob('*.tar.gz')
        shutil.unpack_archive(archive, source)
        folder = source / archive.name.removesuffix('.tar.gz')
        if minor_version(row) > (2, 11):
            setup = folder / 'setup.py'
            setup.write_text(setup.read_text().replace('-std=c++17', '-std=c++20'))
        join(folder / 'mmcv' / 'ops' / 'csrc' / 'pytorch', 2)
        join(folder / 'mmcv' / 'ops' / 'csrc' / 'pytorch' / 'cpu', 5)
        build = [*pip, 'wheel', *options, '-w', str(wheels), str(folder)]
        run(f'{row.name}: {row.mmcv}', build, row.log, variables)
    (wheel,) = wheels.glob('*.whl')
    pip_install(row, 'mmcv', '--no-config', '--no-deps', str(wheel))  # that is for its source
    return {}


def join(folder: Path, parts: int) -> None:
    """Join C++ sources into a few: nearly all of the time goes into torch's headers.

    Neighbours by name go into different parts, because they define functions of the same name.
    Sources with a macro named min come last, because headers call functions of that name.
    """
    sources = sorted(path for path in folder.glob('*.cpp') if path.stem != 'pybind')
    for part in range(parts):
        renamed = [path.rename(path.with_suffix('.inc')) for path in sources[part::parts]]
        renamed.sort(key=lambda path: '#define min' in path.read_text())
        quoted = [f'"{path.name}"' for path in renamed]
        lines = [f'#include {name}\n' for name in ('<torch/extension.h>', *quoted)]
        (folder / f'joined_{part}.cpp').write_text(''.join(lines))


def wheel_folder(row: Row) -> Path:
    """Where the wheel lies: patch releases of torch have the same C++ interface, others do not."""
    minor = '{}.{}'.format(*minor_version(row))
    mmcv = f'{row.mmcv}-{row.packages[row.mmcv]}'
    return row.folder / 'wheels' / f'{mmcv}-torch{minor}-cp{row.python.replace(".", "")}'


def minor_version(row: Row) -> tuple[int, int]:
    """The minor version of a row's torch."""
    major, minor, *_ = row.packages['torch'].split('.')
    return int(major), int(minor)


def install(row: Row) -> dict[str, Any]:
    """The other packages, and the newest of what they need."""
    pip_install(row, 'the other packages', *row.pin(), *OTHERS, *BUILD)
    return {}


def check(row: Row) -> dict[str, Any]:
    """Ask check_env.py: what the environment is ready for, and its remedies."""
    start = row.log.stat().st_size
    with contextlib.suppress(SetupError):  # that it refuses is a result
        run(f'{row.name}: check_env.py', [row.interpreter, 'tools/check_env.py'], row.log)
    said = row.log.read_bytes()[start:].decode(errors='replace')
    # Where the environment lies says nothing to a reader.
    return remarks(said.replace(f'{row.interpreter} -m pip', 'pip'))


def remarks(output: str) -> dict[str, Any]:
    """What check_env.py says: what is ready, the problems, and their remedies.

    The packages of the documentation are not installed here, so they are not a problem.
    """
    ready = re.search(r'^Ready for: (.*)\.$', output, re.M)
    found: dict[str, Any] = dict(
        ready=ready[1].split(', ') if ready else [], problems=[], remedies=[]
    )
    for block in re.finditer(r'((?:^\S+ \(for \S+\): .*\n)+)    (\S.*)$', output, re.M):
        problems = re.findall(r'^(\S+) \(for (\S+)\): (.*)$', block[1], re.M)
        if {use for _, use, _ in problems} != {'docs'}:
            found['problems'] += [f'{name}: {what}' for name, _, what in problems]
            found['remedies'].append(block[2])
    return found


def test(row: Row) -> dict[str, Any]:
    """Run the tests; how many passed, failed and were skipped."""
    report = row.log.with_suffix('.xml')
    report.unlink(missing_ok=True)
    command = [row.interpreter, '-m', 'pytest', '-v', '--tb=short', '-p', 'no:cacheprovider']
    command += ['--timeout', '1200', '--junitxml', str(report), *TESTS]
    variables = dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', PYTHONDONTWRITEBYTECODE='1')
    with contextlib.suppress(SetupError):  # that tests fail is a result
        run(f'{row.name}: tests', command, row.log, variables)
    if not report.exists():
        raise SetupError(f'error: the tests did not end, see {row.log.name}')
    return counted(report.read_text())


def counted(report: str) -> dict[str, Any]:
    """The counts of a JUnit report, and the names of the tests that failed."""
    cases = list(ElementTree.fromstring(report).iter('testcase'))
    failed = [case for case in cases if {'failure', 'error'} & {child.tag for child in case}]
    skipped = sum(case.find('skipped') is not None for case in cases)
    return dict(
        passed=len(cases) - len(failed) - skipped,
        skipped=skipped,
        failures=[f'{case.get("classname", "")}::{case.get("name")}' for case in failed],
    )


def pip_install(row: Row, title: str, *arguments: str) -> None:
    """Let uv install into the environment of a row, by the settings of pyproject.toml."""
    command = [uv(), '-v', 'pip', 'install', '--python', row.interpreter, *arguments]
    indexes = pip_s_indexes(sys.executable)
    run(f'{row.name}: {title}', command, row.log, indexes)


def uv() -> str:
    """The uv beside this interpreter, or that of the PATH."""
    beside = Path(sys.executable).parent / 'uv'
    return str(beside) if beside.exists() else find_executable('uv')


def commit() -> str:
    """The commit that is tried, with a mark where files differ from it."""
    command = ['git', 'describe', '--always', '--dirty']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


# --- the table -----------------------------------------------------------------------------------


def read(store: Path) -> dict[str, dict[str, Any]]:
    """The last record of each row by its name."""
    lines = store.read_text().splitlines() if store.exists() else []
    records = [json.loads(line) for line in lines if line.endswith('}')]
    return {record['row']: record for record in records}


def told(record: dict[str, Any]) -> str:
    """The outcome of a row in a few words."""
    if 'failed' in record:
        return f'{record["failed"].replace("_", " ")} fails'
    counts = [f'{record["passed"]} passed']
    counts += [f'{len(record["failures"])} failed'] * bool(record['failures'])
    counts += [f'{record["skipped"]} skipped'] * bool(record['skipped'])
    return ', '.join(counts)


COLUMNS = ('torch', 'torchvision', 'numpy', 'mmcv', 'mmengine', 'mmpose', 'mmpretrain', 'mmdet')


def cells(packages: dict[str, str]) -> list[str]:
    """Versions of the columns; a fork's with its name."""
    by_module = {
        name.removeprefix('onedl-').replace('mmdetection', 'mmdet'): version
        + (' (onedl)' if name.startswith('onedl-') else '')
        for name, version in packages.items()
    }
    return [by_module.get(column, '–') for column in COLUMNS]


def table(records: dict[str, dict[str, Any]]) -> str:
    """The page of all rows that were tried, with the remedies."""
    found = [records[name] for name in ROWS if name in records]
    rows = [
        [r['row'], r['python'], *cells(r['packages']), told(r), f'{r["date"]}, {r["commit"]}']
        for r in found
    ]
    notes = []
    for r in found:
        said = [f'- {problem}' for problem in r.get('problems', [])]
        said += [f'- Remedy: `{remedy}`' for remedy in r.get('remedies', [])]
        said += [f'- Failed: `{name}`' for name in r.get('failures', [])]
        said += [f'- `{r["error"]}`'] if 'error' in r else []
        notes += ['', f'**{r["row"]}**', '', *said] if said else []
    head = ['row', 'Python', *COLUMNS, 'tests', 'date, commit']
    files = ', '.join(f'`{name.removeprefix("tests/")}`' for name in TESTS)
    return '\n'.join(
        [
            '# Compatibility',
            '',
            '`tools/compatibility.py` wrote this table. For each row it made an environment, built',
            "mmcv's CPU ops (without compiler optimisation; for torch later than 2.11 as C++20,",
            'for which `tools/check_env.py` gives the command), asked it, and ran',
            f'these tests on a CPU: {files}. *requirements.txt* is what `make`',
            'installs. Rows that were not tried are not here.',
            '',
            markdown_table(head, rows),
            *(['', '## What was said', *notes] if notes else []),
            '',
        ]
    )


if __name__ == '__main__':
    sys.exit(main())
