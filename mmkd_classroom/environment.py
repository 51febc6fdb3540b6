"""Which OpenMMLab environments mmkd_classroom works in, and the remedy for each that it does not.

Importing the package calls :func:`check`, which reads package metadata only: a set that cannot
work ends in one message with the exact commands, before a traceback from the depths of MMCV.
``tools/check_env.py`` goes further and imports each package (see :func:`diagnose`).

This module uses the standard library alone and imports nothing of mmkd_classroom, so that
``tools/check_env.py`` and ``tools/setup_env.py`` can load it by its path where all else is broken.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
import shlex
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOMAINS = ('pose', 'classification')
"""What one can distil. A user of one needs nothing of the other."""

FORKS = {
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
    'mmdet': 'onedl-mmdetection',
}
"""Maintained forks by the stock distribution whose modules they hold. There is none of MMPose."""

PIP = f'{shlex.quote(sys.executable)} -m pip'


def release(version: str) -> tuple[int, ...]:
    """Return the numbers a version starts with: '2.1.3+cu121' -> (2, 1, 3), '0.10rc1' -> (0, 10).

    Trailing zeros are dropped so that tuples compare as versions do: '2.0.0' -> (2,).
    """
    numbers = [int(part) for part in re.findall(r'\d+', re.match(r'[\d.]*', version.strip())[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or else of its fork; None without both."""
    for distribution in filter(None, (name, FORKS.get(name))):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return None


# `CUDA_VISIBLE_DEVICES=` leaves out MMCV's CUDA ops: no model here uses them, and building them
# is slow and needs a CUDA toolkit that matches torch's. `--no-cache-dir`, because pip's cache
# keeps wheels by version alone and would hand back one that was built against another torch.
_SOURCE_OF_MMCV, _FETCH_MMCV = 'mmcv==2.1.0', ''
# Its setup.py asks for C++17, but the headers of later versions of torch need C++20.
if release(installed_version('torch') or '') >= (2, 12):
    _SOURCE_OF_MMCV = './mmcv-2.1.0'
    _FETCH_MMCV = (
        f'{PIP} download --no-build-isolation --no-deps --no-binary :all: mmcv==2.1.0 && tar xzf '
        'mmcv-2.1.0.tar.gz && sed -i s/-std=c++17/-std=c++20/ mmcv-2.1.0/setup.py && '
    )
_BUILD_MMCV = (
    f"{PIP} install 'setuptools<81' wheel ninja psutil && {_FETCH_MMCV}"
    f'CUDA_VISIBLE_DEVICES= MMCV_WITH_OPS=1 {PIP} install --no-build-isolation --no-cache-dir '
    f'--force-reinstall --no-deps {_SOURCE_OF_MMCV}  # about 10 minutes on 2 cores; needs a C++ '
    'compiler'
)
# Its setup.py reads the version in a way that Python 3.13 ended (KeyError: __version__).
if sys.version_info >= (3, 13):
    _BUILD_MMCV = (
        'mmcv 2.1.0 does not build on Python 3.13 or later; use Python 3.10 to 3.12, '
        'e.g. `make test BASE_PYTHON=python3.12`'
    )
_BUILD_XTCOCOTOOLS = (
    f"{PIP} install 'setuptools<81' wheel cython && "
    f'{PIP} install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    '--no-binary xtcocotools xtcocotools==1.14.3'
)
# A pair: each torchvision works with the one torch it was built for.
_INSTALL_TORCH = f'{PIP} install torch==2.11.0 torchvision==0.26.0'
_INSTALL_MMENGINE = f'{PIP} install mmengine==0.10.7'


@dataclass(frozen=True)
class Package:
    """What must be installed, in which range, for what, and how to get it.

    Args:
        name: Name of the distribution, as pip knows it.
        range: The versions that work: '>=LOW' or '>=LOW,<HIGH'.
        needed_for: 'core' (always), one of :data:`DOMAINS`, 'tests', or what one can do without:
            'detection-ops' (person detection in MMPose's inferencers), 'drawing' (``--show`` and
            ``--show-dir`` for poses), 'report' (``tools/report.py``), 'rtmpose' (the training
            pipelines of RTMPose's configs), 'tensorboard' (its visualizer backend) and 'docs'
            (``make docs``).
        remedy: The exact command that installs a version in range.
        probe: Python statement that loads what we use of it, compiled parts included.
    """

    name: str
    range: str
    needed_for: str
    remedy: str
    probe: str


_REGISTER = 'from {0}.utils import register_all_modules; register_all_modules()'


def _pip(no_deps: str, others: str = '') -> str:
    """Return the command that installs the first as they are, then the others."""
    return f'{PIP} install --no-deps {no_deps}' + (others and f' && {PIP} install {others}')


PACKAGES = (
    Package('torch', '>=2.1', 'core', _INSTALL_TORCH, 'import torch; torch.ones(1) + 1'),
    Package('torchvision', '>=0.16', 'core', _INSTALL_TORCH, 'import torchvision'),
    Package('mmengine', '>=0.10,<1', 'core', _INSTALL_MMENGINE, 'import mmengine.runner'),
    # 2.3 is the fork's. From 2.2 on the stock MMDetection alone refuses it: `metadata_problem`.
    Package('mmcv', '>=2.0.0,<2.4.0', 'core', _BUILD_MMCV, 'import mmcv.ops'),
    Package(
        'mmpose',
        '>=1.3,<2',
        'pose',
        # --no-deps: it declares chumpy, which none of its code needs and which does not install.
        _pip('mmpose==1.3.2', 'json-tricks munkres scipy matplotlib pillow'),
        _REGISTER.format('mmpose'),
    ),
    Package(
        'xtcocotools',
        '>=1.12',
        'pose',
        _BUILD_XTCOCOTOOLS,
        'from xtcocotools.coco import COCO',
    ),
    Package(
        'mmpretrain',
        '>=1.1,<2',
        'classification',
        _pip('mmpretrain==1.2.0', 'einops importlib-metadata mat4py matplotlib modelindex rich'),
        _REGISTER.format('mmpretrain'),
    ),
    Package(
        'mmdet',
        '>=3.0,<4',
        'detection-ops',
        _pip('mmdet==3.3.0', 'pycocotools scipy shapely six terminaltables tqdm'),
        _REGISTER.format('mmdet'),
    ),
    # With numpy 2.4, MMPose 1.3 trains and tests but cannot draw: it calls int() on arrays.
    Package('numpy', '>=1.20,<2.4', 'drawing', f"{PIP} install 'numpy<2.4'", 'import numpy'),
    # From 1.4.21 on it draws random numbers of its own, which no seed of a run reaches; MMPose 1.3
    # does not find its transforms in 2.0.
    Package(
        'albumentations',
        '>=1.3,<1.4.21',
        'rtmpose',
        # --no-deps: it declares opencv-python-headless, which clashes with an opencv-python.
        _pip('albumentations==1.3.1 qudida==0.0.4', 'scikit-image scikit-learn'),
        'import albumentations as a; a.augmentations.transforms; '
        'a.CoarseDropout(max_holes=1, max_height=0.4, min_holes=1, min_height=0.2)',
    ),
    Package(
        'tensorboard',
        '>=2.10',
        'tensorboard',
        f'{PIP} install tensorboard==2.21.0',
        'from torch.utils.tensorboard import SummaryWriter',
    ),
    *(
        Package(name, f'>={low}', 'report', f'{PIP} install {name}', f'import {name}')
        for name, low in (('jinja2', 3), ('plotly', 6))
    ),
    *(
        Package(name, f'>={low}', 'tests', f'{PIP} install {name}', f'import {module}')
        for name, low, module in (
            ('pytest', 7, 'pytest'),
            ('pytest-timeout', 2, 'pytest_timeout'),
            ('pytest-xdist', 3, 'xdist'),
            ('hypothesis', 6, 'hypothesis'),
            ('import-linter', 2, 'importlinter'),
        )
    ),
    *(
        Package(name, f'>={low}', 'docs', f'{PIP} install {name}', f'import {module}')
        for name, low, module in (
            ('sphinx', 8, 'sphinx'),
            ('myst-parser', 4, 'myst_parser'),
            ('furo', 2024, 'furo'),
        )
    ),
)


@dataclass(frozen=True)
class Problem:
    """One thing that is missing or wrong, and what to do about it.

    Args:
        package: Name of the distribution.
        needed_for: As in :class:`Package`.
        what: What is wrong, one sentence.
        remedy: The exact command.
    """

    package: str
    needed_for: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.package}: {self.what}\n      remedy: {self.remedy}'


class EnvironmentProblem(RuntimeError):
    """The installed packages cannot run mmkd_classroom; the message lists each remedy.

    Not an ImportError: mmengine's registries swallow those while they import the modules of a
    scope, and the user would read that a type is unknown instead of what to install.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f'mmkd_classroom cannot work with the packages of {sys.executable}:']
        lines += [f'  - {problem}' for problem in problems]
        if {problem.needed_for for problem in problems} >= set(DOMAINS):
            lines.append('Either pose or classification is enough: it need not be both.')
        lines.append('`python tools/check_env.py` tells more about this environment.')
        super().__init__('\n'.join(lines))


def has_compiled_ops() -> bool:
    """Return whether the installed mmcv holds ``mmcv._ext``, found without importing mmcv."""
    try:
        spec = importlib.util.find_spec('mmcv')
    except ValueError:  # a stand-in in sys.modules that has no __spec__
        return False
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return any(
        path.suffix in ('.so', '.pyd') for folder in folders for path in Path(folder).glob('_ext*')
    )


def metadata_problem(package: Package) -> Problem | None:
    """Return what the metadata says is wrong with one package, or None."""
    version = installed_version(package.name)
    remedy = package.remedy
    low, _, high = package.range.removeprefix('>=').partition(',<')
    if version is None:
        what = f'not installed; {package.range} is needed.'
    elif release(version) < release(low) or high and release(version) >= release(high):
        what = f'{version} is installed; {package.range} is needed.'
    elif package.name == 'mmcv' and not has_compiled_ops():
        what = f'{version} is installed without mmcv._ext (its compiled ops), which MMPose imports.'
    elif (
        package.name == 'mmdet'
        and release(version) < (3, 4)  # the fork refuses none
        and release(mmcv := installed_version('mmcv') or '') >= (2, 2)
    ):
        # MMPose imports an installed MMDetection, whose assertion on MMCV's version then ends it.
        what = (
            f'mmdet {version} refuses mmcv {mmcv}, and MMPose imports mmdet where it is installed.'
        )
        remedy = f'{PIP} uninstall -y mmdet  # or, to keep mmdet: {_BUILD_MMCV}'
        return Problem('mmdet', 'pose', what, remedy)
    else:
        return None
    # MMCV comes as three distributions. Where two are installed, whether mmcv._ext is there counts.
    if package.name == 'mmcv' and (version is None or not has_compiled_ops()):
        for other in ('mmcv-lite', 'mmcv-full'):
            if other_version := installed_version(other):
                what = (
                    f'{other} {other_version} is installed; '
                    'the full mmcv 2.x is needed (mmcv._ext).'
                )
                # They share their files, so both must go before it is installed anew.
                remedy = f'{PIP} uninstall -y {other} mmcv && {package.remedy}'
    return Problem(package.name, package.needed_for, what, remedy)


def problems(needed_for: tuple[str, ...] = ('core', *DOMAINS)) -> list[Problem]:
    """Return what the metadata says is wrong, for the given uses.

    Args:
        needed_for: Which of :class:`Package`'s ``needed_for`` to look at.
    """
    found = map(metadata_problem, PACKAGES)
    return [problem for problem in found if problem and problem.needed_for in needed_for]


def check() -> None:
    """Raise unless the core and at least one domain are complete, as far as metadata tells.

    Raises:
        EnvironmentProblem: Lists each thing that is missing or wrong, with its remedy.
    """
    found = problems()
    affected = {problem.needed_for for problem in found}
    if 'core' in affected or affected >= set(DOMAINS):
        raise EnvironmentProblem(found)


def diagnose(package: Package, error: str) -> Problem:
    """Turn the text of a failed import into a problem with its remedy.

    Args:
        package: The package whose probe failed.
        error: What the interpreter printed.
    """
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
    # Warnings may follow the exception, so the last line that names an error is looked for.
    named = [line for line in lines if re.match(r'[\w.]*(Error|Exception|Exit)\b', line)]
    what = (named or lines or ['it failed without a message.'])[-1]
    remedy = _known_remedy(error)
    if remedy:
        return Problem(package.name, package.needed_for, what, remedy)
    missing = re.search(r"No module named '(\w+)", error)
    remedies = {known.name: known.remedy for known in PACKAGES}
    if not missing:
        remedy = package.remedy
    else:
        name = _DISTRIBUTIONS.get(missing[1], missing[1])
        remedy = remedies.get(name, f'{PIP} install {name}')
    return Problem(package.name, package.needed_for, what, remedy)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what broken packages raise when they are first used into one message with the remedy.

    Metadata does not show an mmcv that was built against another torch, or an xtcocotools that was
    built for another numpy. A tool that is about to use them wraps its work in this::

        with environment.explained():
            main()

    Raises:
        EnvironmentProblem: The error is known to come from packages that do not fit together.
            Any other error goes through as it is.
    """
    try:
        yield
    except (ImportError, ValueError, RuntimeError, AssertionError) as error:
        remedy = _known_remedy(traceback.format_exc())
        if remedy is None:
            raise
        problem = Problem(type(error).__name__, 'core', str(error), remedy)
        raise EnvironmentProblem([problem]) from error


def _known_remedy(error: str) -> str | None:
    found = (remedy for pattern, remedy in _KNOWN_FAILURES if re.search(pattern, error))
    return next(found, None)


# Modules whose distribution has another name.
_DISTRIBUTIONS = {
    'cv2': 'opencv-python-headless',
    'PIL': 'pillow',
    'yaml': 'pyyaml',
    'json_tricks': 'json-tricks',
}

# What an import prints -> what mends it. The first that matches counts, so the order is from the
# cause to its consequences.
_KNOWN_FAILURES = (
    (
        r'lib(GL|gthread-2\.0|xcb|X11|SM|Xext|glib-2\.0)\.so',
        f'{PIP} uninstall -y opencv-python && {PIP} install opencv-python-headless  '
        '# or: sudo apt-get install libgl1 libglib2.0-0',
    ),
    (
        r"operator torchvision::\w+ does not exist|Couldn't load custom C\+\+ ops",
        f'{_INSTALL_TORCH} --force-reinstall  # torchvision was built for another torch: '
        'take both from one index, or both by conda',
    ),
    # Undefined C++ symbols of torch, or its libraries gone: mmcv was built against another torch.
    (r'_ext\S*\.so: undefined symbol|_ext\S*\.so: cannot open|lib(c10|torch)\S*\.so', _BUILD_MMCV),
    (r"No module named 'mmcv\._ext'|PyInit__ext", _BUILD_MMCV),
    (r'MMCV==\S+ is used but incompatible', _BUILD_MMCV),
    (r'MMEngine==\S+ is used but incompatible', _INSTALL_MMENGINE),
    # The wheel of xtcocotools is built for numpy 1 and fails with numpy 2.
    (
        r'xtcocotools[\s\S]*(numpy\.\w+ size changed|numpy\.core\.multiarray|_ARRAY_API)',
        _BUILD_XTCOCOTOOLS,
    ),
    (
        r'numpy\.\w+ size changed|numpy\.core\.multiarray failed|_ARRAY_API not found',
        f'{PIP} install --upgrade --force-reinstall --no-deps opencv-python-headless pycocotools '
        'matplotlib scipy  # one of these was built for another numpy',
    ),
    (r"No module named 'pkg_resources'", f"{PIP} install 'setuptools<81'"),
    (r'lib(cudart|cudnn|cublas|nvrtc|nccl)\S*\.so', f'{_INSTALL_TORCH} --force-reinstall'),
)
