"""Supported versions of OpenMMLab's and other packages, and how to fix an unsupported environment.

Importing the package calls :func:`check`, which only reads package metadata. If the versions cannot
work together, it raises one message with the exact commands instead of a traceback from MMCV.
``tools/check_env.py`` also imports each package (see :func:`diagnose`).

This module uses only the standard library and imports nothing of mmkd_classroom, so that
``tools/check_env.py`` and ``tools/setup_env.py`` can load it by its path in a broken environment.
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
"""Kinds of models to distil. Each needs only its own packages."""

PIP = f'{shlex.quote(sys.executable)} -m pip'

# `CUDA_VISIBLE_DEVICES=` leaves out MMCV's CUDA ops: no model here uses them, and building them
# is slow and needs a CUDA toolkit that matches torch's. `--no-cache-dir`, because pip's cache
# identifies wheels only by version and might return one that was built against another torch.
_BUILD_MMCV = (
    f"{PIP} install 'setuptools<81' wheel ninja psutil && "
    f'CUDA_VISIBLE_DEVICES= MMCV_WITH_OPS=1 {PIP} install --no-build-isolation --no-cache-dir '
    '--force-reinstall --no-deps mmcv==2.1.0  # about 10 minutes on 2 cores; needs a C++ compiler'
)
_BUILD_XTCOCOTOOLS = (
    f"{PIP} install 'setuptools<81' wheel cython && "
    f'{PIP} install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    '--no-binary xtcocotools xtcocotools==1.14.3'
)
# A pair: each torchvision works with the one torch it was built for.
_INSTALL_TORCH = f'{PIP} install torch==2.11.0 torchvision==0.26.0'


@dataclass(frozen=True)
class Package:
    """A required package: supported versions, use, and installation command.

    Args:
        name: Name of the distribution, as pip knows it.
        minimum: Lowest version that works.
        below: Lowest version that does not work any more, or None if none is known.
        needed_for: 'core' (always), one of :data:`DOMAINS`, 'tests', or an optional use:
            'detection-ops' (person detection in MMPose's inferencers), 'drawing' (``--show`` and
            ``--show-dir`` for poses), 'rtmpose' (the training pipelines of RTMPose's configs) and
            'tensorboard' (its visualizer backend).
        remedy: The exact command that installs a version in range.
        probe: Python statement that imports the used parts of it, including compiled ones.
    """

    name: str
    minimum: str
    below: str | None
    needed_for: str
    remedy: str
    probe: str

    @property
    def range(self) -> str:
        """The supported versions in pip's notation, e.g. '>=2.0.0,<2.3.0'."""
        return f'>={self.minimum}' + (f',<{self.below}' if self.below else '')


_REGISTER = 'from {0}.utils import register_all_modules; register_all_modules()'
_TEST_REMEDY = f'{PIP} install -r requirements/test.txt'

PACKAGES = (
    Package('torch', '2.1', None, 'core', _INSTALL_TORCH, 'import torch; torch.ones(1) + 1'),
    Package('torchvision', '0.16', None, 'core', _INSTALL_TORCH, 'import torchvision'),
    Package(
        'mmengine', '0.10', '1', 'core', f'{PIP} install mmengine==0.10.7', 'import mmengine.runner'
    ),
    # MMCV 2.2 is refused only by MMDetection: see `conflicts`.
    Package('mmcv', '2.0.0', '2.3.0', 'core', _BUILD_MMCV, 'import mmcv.ops'),
    Package(
        'mmpose',
        '1.3',
        '2',
        'pose',
        # --no-deps: it declares chumpy, which none of its code needs and which does not install.
        f'{PIP} install --no-deps mmpose==1.3.2 && '
        f'{PIP} install json-tricks munkres scipy matplotlib pillow',
        _REGISTER.format('mmpose'),
    ),
    Package(
        'xtcocotools',
        '1.12',
        None,
        'pose',
        _BUILD_XTCOCOTOOLS,
        'from xtcocotools.coco import COCO',
    ),
    Package(
        'mmpretrain',
        '1.2',
        '2',
        'classification',
        f'{PIP} install --no-deps mmpretrain==1.2.0 && '
        f'{PIP} install einops importlib-metadata mat4py matplotlib modelindex rich',
        _REGISTER.format('mmpretrain'),
    ),
    Package(
        'mmdet',
        '3.0',
        '3.4',
        'detection-ops',
        f'{PIP} install --no-deps mmdet==3.3.0 && '
        f'{PIP} install pycocotools scipy shapely six terminaltables tqdm',
        _REGISTER.format('mmdet'),
    ),
    # With numpy 2.4, MMPose 1.3 trains and tests but cannot draw: it calls int() on arrays.
    Package('numpy', '1.20', '2.4', 'drawing', f"{PIP} install 'numpy<2.4'", 'import numpy'),
    # From 1.4.21 on it draws random numbers of its own, which no seed of a run reaches; MMPose 1.3
    # does not find its transforms in 2.0.
    Package(
        'albumentations',
        '1.3',
        '1.4.21',
        'rtmpose',
        # --no-deps: it declares opencv-python-headless, which clashes with an opencv-python.
        f'{PIP} install --no-deps albumentations==1.3.1 qudida==0.0.4 && '
        f'{PIP} install scikit-image scikit-learn',
        'import albumentations as a; a.augmentations.transforms; '
        'a.CoarseDropout(max_holes=1, max_height=0.4, min_holes=1, min_height=0.2)',
    ),
    Package(
        'tensorboard',
        '2.10',
        None,
        'tensorboard',
        f'{PIP} install tensorboard==2.21.0',
        'from torch.utils.tensorboard import SummaryWriter',
    ),
    Package('pytest', '7', None, 'tests', _TEST_REMEDY, 'import pytest'),
    Package('pytest-timeout', '2', None, 'tests', _TEST_REMEDY, 'import pytest_timeout'),
    Package('pytest-xdist', '3', None, 'tests', _TEST_REMEDY, 'import xdist'),
    Package('hypothesis', '6', None, 'tests', _TEST_REMEDY, 'import hypothesis'),
    Package('import-linter', '2', None, 'tests', _TEST_REMEDY, 'import importlinter'),
)


@dataclass(frozen=True)
class Problem:
    """A missing or unsupported package, and how to fix it.

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


def release(version: str) -> tuple[int, ...]:
    """Return the numbers a version starts with: '2.1.3+cu121' -> (2, 1, 3), '0.10rc1' -> (0, 10).

    Trailing zeros are dropped so that tuples compare as versions do: '2.0.0' -> (2,).
    """
    numbers = [int(part) for part in re.findall(r'\d+', re.match(r'[\d.]*', version.strip())[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def has_compiled_ops() -> bool:
    """Return whether the installed mmcv has ``mmcv._ext``, without importing mmcv."""
    try:
        spec = importlib.util.find_spec('mmcv')
    except ValueError:  # a stand-in in sys.modules that has no __spec__
        return False
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return any(
        path.suffix in ('.so', '.pyd') for folder in folders for path in Path(folder).glob('_ext*')
    )


def metadata_problem(package: Package) -> Problem | None:
    """Return the problem of one package according to its metadata, or None."""
    version = installed_version(package.name)
    if package.name == 'mmcv':
        return _mmcv_problem(package, version)
    if version is None:
        what = f'not installed; {package.range} is needed.'
    elif not _in_range(version, package):
        what = f'{version} is installed; {package.range} is needed.'
    else:
        return None
    return Problem(package.name, package.needed_for, what, _remedy(package))


def problems(needed_for: tuple[str, ...] = ('core', *DOMAINS)) -> list[Problem]:
    """Return the problems according to the metadata, for the given uses.

    Args:
        needed_for: Which of :class:`Package`'s ``needed_for`` to look at.
    """
    found = [metadata_problem(package) for package in PACKAGES if package.needed_for in needed_for]
    return [problem for problem in found if problem] + [
        problem for problem in conflicts() if problem.needed_for in needed_for
    ]


def check() -> None:
    """Raise an error unless the core and at least one domain are complete by their metadata.

    Raises:
        EnvironmentProblem: Lists each thing that is missing or wrong, with its remedy.
    """
    found = problems()
    affected = {problem.needed_for for problem in found}
    if 'core' in affected or affected >= set(DOMAINS):
        raise EnvironmentProblem(found)


def diagnose(package: Package, error: str) -> Problem:
    """Convert the error output of a failed import to a problem with its remedy.

    Args:
        package: The package whose probe failed.
        error: What the interpreter printed.
    """
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
    # Warnings may follow the exception, so search for the last line with an error.
    named = [line for line in lines if re.match(r'[\w.]*(Error|Exception|Exit)\b', line)]
    what = (named or lines or ['it failed without a message.'])[-1]
    remedy = _known_remedy(error)
    if remedy:
        return Problem(package.name, package.needed_for, what, remedy)
    missing = re.search(r"No module named '(\w+)", error)
    remedies = {known.name: _remedy(known) for known in PACKAGES}
    if not missing:
        remedy = remedies[package.name]
    elif missing[1] in remedies:
        remedy = remedies[missing[1]]
    else:
        remedy = f'{PIP} install {_DISTRIBUTIONS.get(missing[1], missing[1])}'
    return Problem(package.name, package.needed_for, what, remedy)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Convert errors that broken packages raise at their first use to a message with the remedy.

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


def _in_range(version: str, package: Package) -> bool:
    number = release(version)
    return release(package.minimum) <= number and (
        package.below is None or number < release(package.below)
    )


def _mmcv_problem(package: Package, version: str | None) -> Problem | None:
    """Check the distribution of MMCV: of three, only ``mmcv`` 2 with compiled ops is suitable."""
    remedy = _remedy(package)
    for other in ('mmcv-lite', 'mmcv-full'):
        other_version = installed_version(other)
        # If both are installed, `mmcv._ext` decides.
        if other_version and (version is None or not has_compiled_ops()):
            what = f'{other} {other_version} is installed; the full mmcv 2.x is needed (mmcv._ext).'
            # Both have the same files, so uninstall both before mmcv is installed again.
            remedy = f'{PIP} uninstall -y {other} mmcv && {remedy}'
            return Problem(package.name, package.needed_for, what, remedy)
    if version is None:
        what = f'not installed; {package.range} is needed.'
    elif not _in_range(version, package):
        what = f'{version} is installed; {package.range} is needed.'
    elif not has_compiled_ops():
        what = f'{version} is installed without mmcv._ext (its compiled ops), which MMPose imports.'
    else:
        return None
    return Problem(package.name, package.needed_for, what, remedy)


def conflicts() -> list[Problem]:
    """Combinations of supported versions that do not work together."""
    mmcv, mmdet = installed_version('mmcv'), installed_version('mmdet')
    if not mmcv or not mmdet or not (2, 2) <= release(mmcv) < (2, 3):
        return []
    # MMPose imports an installed MMDetection, which asserts the version of MMCV and fails.
    what = f'mmdet {mmdet} refuses mmcv {mmcv}, and MMPose imports mmdet where it is installed.'
    remedy = f'{PIP} uninstall -y mmdet  # or, to keep mmdet: {_BUILD_MMCV}'
    return [Problem('mmdet', 'pose', what, remedy)]


def _remedy(package: Package) -> str:
    # MMCV 2's setup.py cannot read its version with Python 3.13 (KeyError: __version__).
    if package.name == 'mmcv' and sys.version_info >= (3, 13):
        return (
            'mmcv 2.1.0 does not build on Python 3.13 or later; use Python 3.10 to 3.12, '
            'e.g. `make test BASE_PYTHON=python3.12`'
        )
    return package.remedy


# Modules whose distribution has another name.
_DISTRIBUTIONS = {
    'cv2': 'opencv-python-headless',
    'PIL': 'pillow',
    'yaml': 'pyyaml',
    'json_tricks': 'json-tricks',
}

# Output of a failed import -> its remedy. The first match is used, so causes come before their
# consequences.
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
    (r'MMEngine==\S+ is used but incompatible', f'{PIP} install mmengine==0.10.7'),
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
