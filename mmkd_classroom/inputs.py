"""Check the data's files before training, and explain the Runner's errors in one message."""

import os
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from .errors import ClassroomError, did_you_mean, reason
from .metainfo import nested_datasets
from .options import type_name

TRAINING_LOADERS = ('train_dataloader', 'val_dataloader')
_LOADERS = (*TRAINING_LOADERS, 'test_dataloader')
_FILES = ('ann_file', 'bbox_file')


def check_data(cfg: Config, loaders: Sequence[str] = TRAINING_LOADERS) -> None:
    """Check that the files and folders exist that the data sets and evaluators name.

    A relative path may begin at ``data_root`` or, as some data sets have it, at the working
    directory. Paths of remote file systems, and values that are no paths, are not checked.

    Args:
        cfg: Config of a training or a test.
        loaders: Names of the data loaders that will be built; those that are None are left out.

    Raises:
        ClassroomError: One does not exist, or an annotation file is empty.
    """
    for name in loaders:
        loader = cfg.get(name)
        dataset = loader.get('dataset') if isinstance(loader, dict) else None
        images = _loads_images(dataset)
        for key, part in nested_datasets(dataset, f'{name}.dataset'):
            for option in _FILES:
                _check_path(f'{key}.{option}', part.get(option), part.get('data_root'), 'file')
            # Without an annotation file, some data sets download their images.
            if images and part.get('ann_file'):
                prefixes = part.get('data_prefix')
                prefixes = prefixes if isinstance(prefixes, dict) else {'': prefixes}
                for image, prefix in prefixes.items():
                    where = '.'.join(filter(None, [f'{key}.data_prefix', image]))
                    _check_path(where, prefix, part.get('data_root'), 'folder')
        key = name.replace('dataloader', 'evaluator')
        evaluators = cfg.get(key)
        listed = isinstance(evaluators, (list, tuple))
        for index, evaluator in enumerate(evaluators if listed else [evaluators]):
            if isinstance(loader, dict) and isinstance(evaluator, dict):
                where = f'{key}[{index}].ann_file' if listed else f'{key}.ann_file'
                _check_path(where, evaluator.get('ann_file'), None, 'file')


def explain_inputs(runner: Runner) -> None:
    """Let a Runner raise a :class:`ClassroomError` for data and checkpoints that it cannot use.

    Args:
        runner: Before its training or test.
    """

    def loader(given: Any, *_: Any, **__: Any) -> str:
        known = (name for name in _LOADERS if getattr(runner, f'_{name}', None) is given)
        key = f'{next(known, "A data loader")}.dataset'
        parts = nested_datasets(given.get('dataset') if isinstance(given, dict) else None, key)
        named = [(name, part['ann_file']) for name, part in parts if part.get('ann_file')]
        files = [f'{name}.ann_file = {file!r}' for name, file in named]
        return ', with '.join([f'{key} cannot be built', *files])

    def checkpoint(filename: Any, *_: Any, **__: Any) -> str:
        return f'The checkpoint {str(filename)!r} cannot be loaded into this model'

    def training(filename: Any, *_: Any, **__: Any) -> str:
        return f'The training cannot be resumed from the checkpoint {str(filename)!r}'

    runner.build_dataloader = _told(runner.build_dataloader, loader, _not_empty)
    for name, what in dict(load_checkpoint=checkpoint, resume=training).items():
        if hasattr(runner, name):  # a Runner of another type may have others
            setattr(runner, name, _told(getattr(runner, name), what))


def _told(
    function: Callable, what: Callable[..., str], check: Callable[[Any], None] | None = None
) -> Callable:
    """Wrap a function of a Runner: its errors begin with what cannot be done."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
            if check is not None:
                check(result)
            return result
        except ClassroomError:
            raise
        except Exception as error:  # data sets and state dicts raise various types
            raise ClassroomError(
                f'{what(*args, **kwargs)} ({reason(error)}{_place(error)}). Correct the config or '
                'the file that it names.'
            ) from error

    return wrapped


def _place(error: Exception) -> str:
    """Line and file of an error, the innermost outside of Python's own modules."""
    own = os.path.dirname(os.__file__)
    frames = traceback.extract_tb(error.__traceback__)
    others = [f for f in frames if not f.filename.startswith(own) or 'site-packages' in f.filename]
    last = (others or frames)[-1]
    return f' in line {last.lineno} of {last.filename}'


def _not_empty(loader: Any) -> None:
    dataset = loader.dataset
    if hasattr(dataset, '__len__') and len(dataset) == 0:
        raise ValueError(
            f'it has no samples, with ann_file = {getattr(dataset, "ann_file", None)!r}'
        )


def _loads_images(dataset: Any) -> bool:
    """Whether a pipeline reads images; lifting and motion do not need those of their data."""
    steps = [
        step for _, part in nested_datasets(dataset, '') for step in part.get('pipeline') or []
    ]
    return any('LoadImage' in type_name(step) for step in steps if isinstance(step, dict))


def _check_path(key: str, path: Any, root: Any, kind: str) -> None:
    if not isinstance(path, str) or not path or '://' in f'{root}{path}':
        return
    places = [Path(path).expanduser()]
    if isinstance(root, str):
        places.insert(0, Path(root).expanduser() / places[0])
    found = [place for place in places if place.is_file() or place.is_dir()]
    right = [place for place in found if place.is_file() == (kind == 'file')]
    if not right:
        place = places[0].absolute()
        near = [other.name for other in place.parent.glob('*')] if place.parent.is_dir() else []
        raise ClassroomError(
            f'{key} = {path!r}: there is no such {kind}{did_you_mean(place.name, near)}. It was '
            f'sought at {place}. Correct it, or data_root.'
        )
    if kind == 'file' and right[0].stat().st_size == 0:
        raise ClassroomError(f'{key} = {path!r}: the file {right[0].absolute()} is empty.')
