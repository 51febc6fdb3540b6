"""Check the options of a config against the signature of the class or function they build."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmengine.registry import DefaultScope, Registry
from torch import nn

from .errors import ClassroomError, did_you_mean

_SCOPE = 'mmkd_classroom'
# Keys of MMEngine's. `_delete_` remains in a config if there was nothing to delete.
_MARKS = ('_scope_', '_delete_')


def build_part(
    cfg: Any,
    registry: Registry,
    key: str,
    default: str | None = None,
    kind: type = object,
) -> Any:
    """Build a part of a classroom from its config.

    The prefix ``mmkd_classroom.`` of the type is optional.

    Args:
        cfg: ``dict(type=..., **options)``; None for the default without options.
        registry: Registry of the type.
        key: Config key of the part, such as ``model.strategy``, for messages.
        default: Type to use if ``cfg`` has none.
        kind: Required base class of the part.

    Raises:
        ClassroomError: The type is unknown, or an option is unknown, missing or of another type.
    """
    cfg = {} if cfg is None else cfg
    named = default is None or 'type' in cfg
    if default is not None and isinstance(cfg, Mapping):
        cfg = {'type': default, **cfg}
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ClassroomError(f'{key} is {cfg!r}: write dict(type=..., ...).')
    options = without_marks(cfg)
    del options['type']
    with DefaultScope.overwrite_default_scope(_SCOPE):
        builder = find_type(cfg['type'], registry, key, kind)
        wrong = inspect.isclass(builder) and not issubclass(builder, kind)
        if wrong or inspect.isabstract(builder):
            raise ClassroomError(
                f'{key}.type is {cfg["type"]!r}, which is no {kind.__name__} that can be built: '
                'choose another type, or leave it out.'
            )
        title = key if named else f'{key} has no type, so it is {default}, which'
        check_options(builder, options, key, title=title)
        part = builder(**options)
    if not isinstance(part, kind):
        raise ClassroomError(
            f'{key}.type is {cfg["type"]!r}, which gives a {type(part).__name__} instead of a '
            f'{kind.__name__}.'
        )
    return part


def without_marks(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config, without those of MMEngine's that say how it was inherited."""
    return {name: value for name, value in cfg.items() if name not in _MARKS}


def type_name(cfg: Mapping[str, Any]) -> str:
    """Name of the type of a config, without scope or module. In lazy configs it is a class."""
    kind = cfg.get('type', '')
    return (kind if isinstance(kind, str) else kind.__name__).rsplit('.', 1)[-1]


def check_options(
    builder: Callable,
    options: Mapping[str, Any],
    key: str,
    given: Iterable[str] = (),
    title: str | None = None,
) -> None:
    """Check options against a signature.

    Args:
        builder: Class or function.
        options: Its arguments from the config.
        key: Config key of the options, such as ``model.strategy``, for messages.
        given: Names of arguments from the caller, which the config must not set.
        title: What has no such option, for that message. Default: the key.

    Raises:
        ClassroomError: An option is unknown, missing or of another type.
    """
    function = _function(builder)
    known = [name for name in _named(builder) if name not in given]
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # a type is imported under TYPE_CHECKING only
        hints = {}
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if not takes_any or function is nn.Module.__init__:  # accepts **kwargs only to raise an error
        refuse_unknown([name for name in options if name not in known], known, title or key)
    for name in known:
        if name not in options:
            if parameters[name].default is inspect.Parameter.empty:
                raise ClassroomError(f'{key}.{name} is missing.')
        elif name in hints and not _fits(options[name], hints[name]):
            raise ClassroomError(
                f'{key}.{name} is {options[name]!r}, a {type(options[name]).__name__}: give '
                f'{_spelled(hints[name])}.'
            )


def refuse_unknown(names: Iterable[str], known: Callable | Iterable[str], key: str) -> None:
    """Raise a :class:`ClassroomError` if there are unknown options.

    Args:
        names: Names of the unknown options.
        known: Names of the known options, or a class or function with these parameters.
        key: Config key of the options, such as ``MentoringHook``, for the message.
    """
    known = _named(known) if callable(known) else list(known)
    for name in names:
        raise ClassroomError(
            f'{key} has no option {name!r}{did_you_mean(name, known)}. It takes: '
            f'{", ".join(known) or "none"}.'
        )


def _named(builder: Callable) -> list[str]:
    """Names of the parameters of a class or function, without ``*args`` and ``**kwargs``."""
    return [
        name
        for name, parameter in inspect.signature(_function(builder)).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and name != 'self'
    ]


def _function(builder: Callable) -> Callable:
    return builder.__init__ if inspect.isclass(builder) else builder


def find_type(kind: Any, registry: Registry, key: str, base: type = object) -> Callable:
    """Return the class or function of a ``type``, which may be a registered name.

    Args:
        kind: Value of ``type`` in a config.
        registry: Registry of the type.
        key: Config key of the part, such as ``model.strategy``.
        base: Base class of the types that the message lists.

    Raises:
        ClassroomError: No type of that name is registered.
    """
    if not isinstance(kind, str):
        return kind
    with DefaultScope.overwrite_default_scope(_SCOPE):
        builder = registry.get(kind)
    if builder is None:
        names = sorted(
            name
            for name, known in registry.module_dict.items()
            if inspect.isclass(known)
            and issubclass(known, base)
            and known.__module__.startswith(f'{_SCOPE}.')
        )
        name = kind.rpartition('.')[2]
        raise ClassroomError(
            f'{key}.type is {kind!r}, which is not known{did_you_mean(name, names)}. The prefix of '
            f"what comes with this package is '{_SCOPE}.'; it has {', '.join(names)}."
        )
    return builder


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has an annotated type. Annotations that are not classes accept any value."""
    if hint is Any:
        return True
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, member) for member in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if not isinstance(kind, type):
        return True
    if isinstance(value, bool) and kind in (int, float):
        return False
    if isinstance(value, str) and kind is not str:  # a string is a Sequence of strings
        return kind is object
    return isinstance(value, (int, float) if kind is float else kind)


def _spelled(hint: Any) -> str:
    names = dict(float='a number', int='a whole number', str='a string', bool='True or False')
    names.update(NoneType='None', dict='a dict', Sequence='a list', Mapping='a dict')
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return ' or '.join(dict.fromkeys(map(_spelled, typing.get_args(hint))))
    kind = typing.get_origin(hint) or hint
    name = getattr(kind, '__name__', str(kind))
    return names.get(name, name)
