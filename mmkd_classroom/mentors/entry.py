"""Entries of ``model.mentors``: check their keys, and find their configs and checkpoints."""

import copy
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..downloads import check_hash
from ..errors import ClassroomError, did_you_mean, each, shown
from ..hub import config_file, get_config, load_config
from ..options import type_name
from ..runner import current_runner

PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
# A name becomes a part of a folder's name, and of the names of curves, ``mentor/NAME/score``.
_NAME = re.compile(r'[^/\\\x00-\x1f\x7f]{1,100}')
# The part of a config's file name after the model: batch size, epochs, data set.
_SCHEDULE = re.compile(r'[-_]\d+xb\d+.*')
_KINDS = {
    'config': ((str, Path, dict), "a path, 'package::path' or a dict with `model`"),
    'checkpoint': ((str, Path, NoneType), "'zoo', a path, a URL, or None for random weights"),
    'name': ((str, NoneType), 'a string'),
    'input_size': ((list, tuple, NoneType), '(width, height) in pixels'),
    'flip_channels': ((bool, NoneType), 'True, False, or None to have it found out'),
    'precision': ((str, NoneType), f'one of {", ".join(PRECISIONS)}'),
    'channels_last': ((bool,), 'True or False'),
    'compile': ((bool,), 'True or False'),
}
_FORM = (
    "A mentor is dict(config=..., checkpoint='zoo' | path | URL), or 'package::path' alone for a "
    "config of an installed package with its zoo's weights"
)


@dataclass(frozen=True)
class Entry:
    """A checked entry of ``model.mentors`` with its loaded config.

    Attributes:
        key: Config key, such as ``model.mentors[0]``, for messages.
        options: The entry itself.
        config: Whole config of the mentor.
        checkpoint: Path or URL of the weights, or None for random weights.
    """

    key: str
    options: dict[str, Any]
    config: Config
    checkpoint: str | None

    @property
    def name(self) -> str:
        """See :func:`mentor_name`; without one, the type of the backbone."""
        name = mentor_name(self.options)
        if name is not None:
            return name
        model = self.config.model.get('student', self.config.model)
        return type_name(model.get('backbone') or model)


def mentor_name(entry: Mapping[str, Any]) -> str | None:
    """Name of an entry of ``model.mentors``: its ``name``, or one from its config's file.

    For a file name in OpenMMLab's style, this is the part before the training schedule:
    ``td-hm_hrnet-w48_8xb32-210e_coco-256x192.py`` gives ``hrnet-w48``.

    Returns:
        The name, or None if the entry has neither a name nor a path.
    """
    name, config = entry.get('name'), entry.get('config')
    if name or not isinstance(config, str):
        return name or None
    stem = Path(config.split('::')[-1]).stem
    return _SCHEDULE.sub('', stem).removeprefix('td-hm_') or stem


def read_entries(
    cfgs: Sequence[dict[str, Any] | str] | None, mentor_options: Iterable[str] = ()
) -> list[Entry]:
    """Check ``model.mentors`` without building models; see :func:`read_entry`.

    Raises:
        ClassroomError: There is no entry, or entries are wrong. The message has the errors of all
            entries.
    """
    if not isinstance(cfgs or [], (list, tuple)):
        raise ClassroomError(f'model.mentors is {cfgs!r}, not a list: write [dict(config=...)].')
    if not cfgs:
        raise ClassroomError(
            'model.mentors is empty: name at least one mentor, or train model.student on its '
            'own with its stock config.'
        )
    keyed = [(cfg, f'model.mentors[{index}]') for index, cfg in enumerate(cfgs)]
    return each(lambda item: read_entry(*item, mentor_options), keyed)


def distinct_names(entries: Sequence[Entry]) -> list[str]:
    """Names of the mentors. Equal names are numbered, with a warning."""
    given = [entry.name for entry in entries]
    taken, names = set(given), list(given)
    for shared in dict.fromkeys(name for name in given if given.count(name) > 1):
        indices = [index for index, name in enumerate(given) if name == shared]
        for index in indices:
            numbered = (f'{shared}_{number}' for number in count(1))
            names[index] = next(name for name in numbered if name not in taken)
            taken.add(names[index])
        renamed = [f'{entries[index].key} is {names[index]!r} now' for index in indices]
        print_log(
            f'{len(indices)} mentors are called {shared!r}: {", ".join(renamed)}. Give each a name '
            'of its own: name=...',
            'current',
            logging.WARNING,
        )
    return names


def read_entry(cfg: dict[str, Any] | str, key: str, mentor_options: Iterable[str] = ()) -> Entry:
    """Check one entry of ``model.mentors`` without building a model or downloading weights.

    Args:
        cfg: ``config`` (a path, ``'package::path'`` or a dict with ``model``), ``checkpoint``
            (``'zoo'``, a path, a URL, or None for random weights) and, optionally, ``name``,
            ``input_size`` (width and height for a classifier, by default
            :attr:`HeadAdapter.usual_size`, else the student's size; for a pose estimator it is the
            codec's), ``flip_channels`` (see :class:`InputAdapter`), ``precision``,
            ``channels_last`` and ``compile`` (see :class:`Mentor`), and ``mentor_options``. A
            string ``'package::path'`` is the same as this config with ``checkpoint='zoo'``. For
            relative paths see :func:`search_folders`.
        key: Config key of the entry, such as ``model.mentors[0]``, for messages.
        mentor_options: Further keys for the student's kind of head,
            :attr:`HeadAdapter.mentor_options`: ``keypoint_map`` and ``metainfo``, or ``class_map``.

    Raises:
        ClassroomError: The entry has wrong keys or values, its config or checkpoint is not found,
            or the SHA-256 of the checkpoint differs from the one in its name.
    """
    cfg = as_entry(cfg, key)
    _check(cfg, key, mentor_options)
    cfg = {name: str(value) if isinstance(value, Path) else value for name, value in cfg.items()}
    config, checkpoint, source = cfg['config'], cfg['checkpoint'], None
    if isinstance(config, dict):
        loaded = load_config(lambda: Config(copy.deepcopy(dict(config))), f'{key}.config')
    elif '::' in config:
        loaded = _from_package(config, checkpoint == 'zoo', key)
    else:
        where = f'{key}.config = {config!r}'
        source = _found(config, search_folders(), where)
        loaded = load_config(lambda: Config.fromfile(source), where)
    if not isinstance(loaded.get('model'), dict):
        raise ClassroomError(
            f'{key}.config has no `model` that is a dict: it is not the config of a model.'
        )
    if checkpoint == 'zoo':
        checkpoint = _zoo_weights(config, loaded, key)
    elif checkpoint is not None:
        checkpoint = _weights(checkpoint, search_folders(source), key)
    entry = Entry(key, cfg, loaded, checkpoint)
    if not _NAME.fullmatch(entry.name):
        raise ClassroomError(
            f'{key} has the name {shown(entry.name)}, which cannot be a part of the name of a '
            'folder: give it a name of at most 100 letters, without slashes: name=...'
        )
    return entry


def search_folders(config: Path | None = None) -> list[Path]:
    """Folders in which a relative path of an entry is searched, in order of precedence.

    These are the working directory, the folder of the config that a Runner is built from, and the
    folder of the mentor's own config.

    Args:
        config: Config file of the mentor, if its checkpoint is searched.
    """
    runner = current_runner()
    main = runner.cfg.filename if runner is not None else None
    return [Path.cwd(), *(Path(file).absolute().parent for file in (main, config) if file)]


def locate_mentors(cfg: Config) -> None:
    """Write paths of mentors beside the config of a classroom as paths from here.

    What is made of the config lies elsewhere: a training dumps it into its work directory, a
    benchmark changes it for each method.
    """
    folder = Path(cfg.filename).parent
    for mentor in cfg.model.get('mentors') or []:
        for key in ('config', 'checkpoint') if isinstance(mentor, dict) else ():
            path = mentor.get(key)
            if isinstance(path, str) and not Path(path).is_file() and (folder / path).is_file():
                mentor[key] = str(folder / path)


def as_entry(text: Any, key: str) -> Any:
    """Convert an entry ``'package::path'`` to a dict; other entries are not changed.

    Args:
        text: The entry.
        key: Config key of the entry, for messages.
    """
    if not isinstance(text, str):
        return text
    if '::' not in text:
        raise ClassroomError(
            f'{key} is {text!r}. A string alone names a config of an installed package, '
            "'mmpose::...' or 'mmpretrain::...', whose zoo has the weights. For a file of your own "
            f'write dict(config={text!r}, checkpoint=...) with the path or URL of its weights.'
        )
    return dict(config=text, checkpoint='zoo')


def _check(cfg: Any, key: str, mentor_options: Iterable[str]) -> None:
    """Raise an error if an entry has unknown, missing or invalid keys."""
    if not isinstance(cfg, dict):
        raise ClassroomError(f'{key} is {cfg!r}. {_FORM}.')
    known = [*_KINDS, *sorted(mentor_options)]
    wrong = [f'lacks {name!r}' for name in ('config', 'checkpoint') if name not in cfg]
    wrong += [
        f'has the unknown key {name!r}{did_you_mean(str(name), known)}'
        for name in cfg
        if name not in known
    ]
    if wrong:
        raise ClassroomError(
            f'{key} {" and ".join(wrong)}. {_FORM}; optional: {", ".join(known[2:])}.'
        )
    for name, (kinds, what) in _KINDS.items():
        value = cfg.get(name)
        if name in cfg and (not isinstance(value, kinds) or value == ''):
            raise ClassroomError(f'{key}.{name} is {value!r}: give {what}.')
    precision, size = cfg.get('precision'), cfg.get('input_size')
    if precision is not None and precision not in PRECISIONS:
        raise ClassroomError(
            f'{key}.precision is {precision!r}{did_you_mean(precision, PRECISIONS)}: '
            f'choose one of {", ".join(PRECISIONS)}.'
        )
    if size is not None and not (len(size) == 2 and all(map(_is_length, size))):
        raise ClassroomError(f'{key}.input_size is {size!r}: give (width, height) in pixels.')


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _from_package(config: str, zoo: bool, key: str) -> Config:
    """Load a config of an installed package; ``zoo`` adds ``model_path`` if it has weights."""
    where = f'{key}.config ='
    config_file(config, where)  # MMEngine would install a package that is missing, without asking
    where = f'{where} {config!r}'
    return load_config(lambda: get_config(config, pretrained=zoo), where)


def _found(path: str, folders: Sequence[Path], where: str, words: Sequence[str] = ()) -> Path:
    """Find a file in the first folder that contains it.

    Args:
        path: Absolute path, or relative to one of the folders.
        folders: Folders in order of precedence.
        where: Config line of the path, for messages.
        words: Values other than files, to suggest for misspelled ones.
    """
    places = [Path(os.path.abspath(folder / Path(path).expanduser())) for folder in folders]
    places = list(dict.fromkeys(places))  # one place if the path is absolute
    for place in places:
        if os.path.isfile(place):  # False for what can be no path, too
            return place
    folders = [place.parent for place in places if os.path.isdir(place.parent)]
    names = [file.name for folder in folders for file in folder.glob('*')]
    raise ClassroomError(
        f'{where}: there is no such file{did_you_mean(Path(path).name, [*names, *words])}. It was '
        f'sought at {" and ".join(map(str, places))}.'
    )


def _zoo_weights(config: str | dict, loaded: Config, key: str) -> str:
    """URL of the model zoo's checkpoint for a config."""
    if not isinstance(config, str) or '::' not in config:
        kind = 'a dict' if isinstance(config, dict) else f'{config!r}, a file'
        raise ClassroomError(
            f"{key}.checkpoint is 'zoo', but {key}.config is {kind}: only configs written "
            "'package::path' are in a zoo. Name the checkpoint's path or URL."
        )
    url = loaded.get('model_path')
    if not isinstance(url, str):  # MMEngine does not report that it found none
        raise ClassroomError(
            f"{key}.checkpoint is 'zoo', but {config.split('::')[0]}'s model zoo lists no weights "
            f'for {key}.config = {config!r}. Name the path or URL of its checkpoint, or another '
            'config.'
        )
    return url


def _weights(checkpoint: str, folders: Sequence[Path], key: str) -> str:
    """Path of an existing checkpoint file, or an unchanged URL."""
    where = f'{key}.checkpoint = {checkpoint!r}'
    if checkpoint.startswith(('http://', 'https://')):
        return checkpoint
    if '://' in checkpoint:
        raise ClassroomError(f'{where}: give a path, or a URL with http:// or https://.')
    path = _found(checkpoint, folders, where, words=['zoo'])
    check_hash(path, where)
    return str(path)
