"""Flags that turn a stock config into a classroom: its mentors and strategy."""

import argparse
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from .distiller import KEYS, MultiMentorDistiller, is_classroom
from .errors import ClassroomError, did_you_mean
from .registry import MODELS
from .strategies import DEFAULT_STRATEGY, Strategy

CLASSROOM = f'mmkd_classroom.{MultiMentorDistiller.__name__}'
_PREFIX = 'mmkd_classroom.'


def add_classroom_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags ``--mentors`` and ``--strategy``."""
    parser.add_argument(
        '--mentors',
        nargs='+',
        metavar='MENTOR',
        help="train the config's model with these mentors. Each is CONFIG=CHECKPOINT, with a path "
        "or URL or None (random weights), or 'package::path' alone, with the weights of that model "
        'zoo',
    )
    parser.add_argument(
        '--strategy',
        help='how the mentors teach, with default options: '
        f'{", ".join(strategy_names())}; by default {DEFAULT_STRATEGY}',
    )


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--cache``."""
    parser.add_argument(
        '--cache',
        nargs='?',
        const='',
        metavar='DIR',
        help='run each mentor once for each view of a sample, and teach from its stored outputs '
        'afterwards; by default in work_dirs/mentor_cache',
    )


def set_classroom(
    cfg: Config,
    mentors: Sequence[str] | None = None,
    strategy: str | None = None,
    cache: str | None = None,
) -> None:
    """Turn a stock config into that of a classroom, or change the config of a classroom.

    Args:
        cfg: Config; its ``model`` is changed in place.
        mentors: Values of ``--mentors``; they replace those of a classroom.
        strategy: Value of ``--strategy``; it replaces that of a classroom.
        cache: Value of ``--cache``: a folder, or '' for the config's or the default one.

    Raises:
        ClassroomError: A value is invalid, or there is a strategy without mentors.
    """
    if mentors is None and strategy is None and cache is None:
        return
    if not isinstance(cfg.get('model'), dict):
        raise ClassroomError('--mentors, --strategy and --cache need a config with a `model`.')
    if not is_classroom(cfg.model):
        if mentors is None:
            flag = '--cache' if strategy is None else f'--strategy {strategy}'
            raise ClassroomError(
                f"{flag} needs mentors, and the config's model has none: name them with --mentors."
            )
        cfg.model = ConfigDict(type=CLASSROOM, student=cfg.model)
    if mentors is not None:
        cfg.model.mentors = [mentor_entry(word) for word in mentors]
    if strategy is not None:
        cfg.model.strategy = ConfigDict(type=strategy_type(strategy))
    if cache is not None:
        if cfg.model.get('cache') is None:
            cfg.model.cache = ConfigDict()
        if cache:
            cfg.model.cache.dir = cache


def check_overrides(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Check the keys of ``--cfg-options`` for a classroom, where a stock key would do nothing.

    Args:
        cfg: Config without these changes.
        options: Value of ``--cfg-options``.

    Raises:
        ClassroomError: A key is that of a part of the classroom without ``model.``, or that of the
            student without ``student.``.
    """
    if not is_classroom(cfg.get('model')):
        return
    student = cfg.model.get('student') or {}
    for key in options or {}:
        first, *rest = key.split('.')
        right = None
        if first in KEYS and first not in cfg:
            right = f'model.student.{key}' if first in student else f'model.{key}'
        elif first == 'model' and rest and rest[0] not in cfg.model and rest[0] in student:
            right = f'model.student.{".".join(rest)}'
        if right is not None:
            raise ClassroomError(f'--cfg-options {key}: in a classroom this is {right}.')


def mentor_entry(word: str) -> str | dict[str, Any]:
    """Convert a value of ``--mentors`` to an entry of ``model.mentors``.

    Args:
        word: ``'package::path'`` or ``'CONFIG=CHECKPOINT'``; the checkpoint ``None`` stands for
            random weights.

    Raises:
        ClassroomError: It is neither.

    Example:
        >>> mentor_entry('my_hrnet.py=my_hrnet.pth')
        {'config': 'my_hrnet.py', 'checkpoint': 'my_hrnet.pth'}
    """
    config, separator, checkpoint = word.partition('=')
    if config and checkpoint:
        return dict(config=config, checkpoint=None if checkpoint == 'None' else checkpoint)
    if separator or '::' not in config:
        raise ClassroomError(
            f"--mentors {word!r}: name the mentor's weights, {config or 'CONFIG'}=CHECKPOINT, by "
            "path or URL. Only 'package::path' can stand alone: its model zoo has the weights."
        )
    return config


def strategy_type(name: str) -> str:
    """Return the ``type`` of a strategy for a config.

    Args:
        name: Registered name; the prefix of this package is optional.

    Raises:
        ClassroomError: There is no such strategy.
    """
    with DefaultScope.overwrite_default_scope('mmkd_classroom'):
        kind = MODELS.get(name)
    if not _is_strategy(kind):
        names = strategy_names()
        raise ClassroomError(
            f'--strategy {name!r} is not known{did_you_mean(name, names)}: choose one of '
            f'{", ".join(names)}.'
        )
    ours = MODELS.module_dict.get(name) is kind
    return _PREFIX + name if ours else name


def strategy_names() -> list[str]:
    """Names of the registered strategies."""
    return sorted(name for name, kind in MODELS.module_dict.items() if _is_strategy(kind))


def _is_strategy(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Strategy)
