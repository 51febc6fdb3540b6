"""Configs by name, ``package::path``, including those of this package, and their models.

The configs and tools of the repository are package data in ``.mim``, as in every OpenMMLab
package: symbolic links in the repository, files in a wheel.
"""

import copy
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import yaml
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio.handlers import YamlHandler, file_handlers
from mmengine.utils import get_installed_path

from .errors import ClassroomError, did_you_mean, reason

_NAME = 'mmkd_classroom'
_FORMATS = ('.py', '.yaml', '.yml', '.json')  # of mmengine's configs


def register() -> None:
    """Make MMEngine read ``mmkd_classroom::path`` as a ``_base_`` and in ``mmengine.hub``.

    Called when this package is imported. MMEngine has a fixed table of packages, so an entry is
    added. Its value is this module instead of the distribution: for a module, MMEngine uses the
    folder from which Python imports it, which also works with an editable install.
    """
    MODULE2PACKAGE[_NAME] = __name__
    Config._get_cfg_path = staticmethod(_without_scope(Config._get_cfg_path))


def _without_scope(get_path: Callable) -> Callable:
    """Wrap ``Config._get_cfg_path``: metafiles run nothing, configs of this package have no scope.

    MMEngine builds the parts of a base config from another package in the scope of that package.
    Our configs have parts of MMPose and MMPretrain.
    """

    def wrapped(cfg_path: str, filename: str) -> tuple[str, str | None]:
        with _plain_metafiles():
            path, scope = get_path(cfg_path, filename)
        return path, None if scope == _NAME else scope

    return wrapped


def config_file(config: str, where: str) -> str:
    """Find a config file.

    Args:
        config: Path, or ``'package::path'`` for a config of an installed package.
        where: Where it is given, such as a flag, for messages.

    Returns:
        Path of the file.

    Raises:
        ClassroomError: There is no such package or file, or it is not a config.
    """
    package, separator, path = config.partition('::')
    if not separator:
        package, path, folder = None, config, Path()
    elif package.isidentifier() and find_spec(package):
        folder = package_configs(package)
    else:
        raise ClassroomError(
            f'{where} {config!r}: no package {package!r} is installed'
            f'{did_you_mean(package, ["mmpose", "mmpretrain", _NAME])}.'
        )
    file = folder / path
    if os.path.isfile(file):  # False for what can be no path, too
        if file.suffix not in _FORMATS:
            raise ClassroomError(
                f'{where} {config!r} is not a config: its name ends with none of {_FORMATS}.'
            )
        return str(file)
    if package is None:
        known = os.listdir(file.parent) if os.path.isdir(file.parent) else []
        hint = did_you_mean(file.name, known)
    else:
        hint = did_you_mean(path, [f.relative_to(folder).as_posix() for f in folder.rglob('*.py')])
    raise ClassroomError(
        f'{where} {config!r}: there is no such config{hint}. It was sought at {file.absolute()}.'
    )


def load_config(load: Callable[[], Config], where: str) -> Config:
    """Call ``load``, and add the wrong line of the config to its errors.

    Args:
        load: Reads the config, for example by :meth:`Config.fromfile`.
        where: What is read, for messages.

    Raises:
        ClassroomError: It cannot be read.
    """
    try:
        return load()
    except Exception as error:  # mmengine raises various types
        raise ClassroomError(
            f'{where} could not be loaded ({reason(error)}{_line(error)}). Correct that file, or '
            'name another config.'
        ) from error


def _line(error: Exception) -> str:
    """Line and config file of an error, for messages; empty if it has no such line."""
    if isinstance(error, SyntaxError):
        return f': {error.text.strip()}' if error.text else ''
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f' in line {f.lineno} of {f.filename}' for f in frames if f.name == '<module>']
    return lines[-1] if lines else ''


def get_config(config: str, pretrained: bool = False) -> Config:
    """:func:`mmengine.hub.get_config`, but no code in a metafile is run.

    Args:
        config: ``'package::path'``.
        pretrained: Whether to add ``model_path``, the address of its weights.
    """
    import mmengine.hub  # slow: it imports torch

    with _plain_metafiles():
        return mmengine.hub.get_config(config, pretrained=pretrained)


@contextmanager
def _plain_metafiles() -> Iterator[None]:
    """A block in which MMEngine reads metafiles without running what they ask for.

    Its YAML handler builds any Python object that a file names, and an index of metafiles may name
    a pickle.
    """
    handlers = dict(file_handlers)
    file_handlers.update(dict.fromkeys(('yaml', 'yml', 'pickle', 'pkl'), _SafeYaml()))
    try:
        yield
    finally:
        file_handlers.update(handlers)


class _SafeYaml(YamlHandler):
    """Plain values only."""

    def load_from_fileobj(self, file: IO, **_: Any) -> Any:
        return yaml.load(file, Loader=getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


def package_configs(package: str) -> Path:
    """Folder of the configs of an installed package.

    Args:
        package: Name of the package's module.
    """
    return Path(get_installed_path(MODULE2PACKAGE.get(package, package)), '.mim', 'configs')


def model_config(cfg: Config) -> ConfigDict:
    """Copy the ``model`` of a config, with the data preprocessor that the stock tools give it.

    MMPretrain's configs define it beside the model as ``data_preprocessor``, which the Runner adds,
    and MMPose's may as ``preprocess_cfg``, which its tools add.
    """
    model = ConfigDict(copy.deepcopy(cfg.model))
    preprocessors = [cfg.get('data_preprocessor'), cfg.get('preprocess_cfg')]
    for preprocessor in filter(None, preprocessors):
        model.setdefault('data_preprocessor', copy.deepcopy(preprocessor))
    return model


def student_model(model: Mapping[str, Any]) -> ConfigDict:
    """Copy the student's config out of the ``model`` of a classroom.

    It has the data preprocessor that the classroom gives to a student without one.
    """
    student = ConfigDict(copy.deepcopy(model['student']))
    if model.get('data_preprocessor') is not None:
        student.setdefault('data_preprocessor', copy.deepcopy(model['data_preprocessor']))
    return student
