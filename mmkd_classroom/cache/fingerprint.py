"""A digest of objects by what they are made of, the same in every process."""

import copyreg
import hashlib
import random
from inspect import isbuiltin
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

_GENERATORS = (
    np.random.Generator,
    np.random.BitGenerator,
    np.random.RandomState,
    random.Random,
    torch.Generator,
)


def fingerprint(value: Any) -> str:
    """SHA-256 of an object's class and attributes, and of theirs.

    Args:
        value: A pipeline, a data set's annotations, a part of a config.

    Example:
        >>> fingerprint(dict(scale=(1, 2))) == fingerprint(dict(scale=(1, 2)))
        True
        >>> fingerprint(dict(scale=(1, 2))) == fingerprint(dict(scale=(1, 3)))
        False
    """
    digest = hashlib.sha256()
    for word in _words(value, []):
        digest.update(word)
        digest.update(b'\0')
    return digest.hexdigest()


def _words(value: Any, above: list[int]):  # noqa: ANN202
    """The object as words; what contains itself is named by its depth."""
    if isinstance(value, (str, bytes, int, float, complex, bool, type(None))):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f'{value.dtype}{value.shape}'.encode()
        yield hashlib.sha256(np.ascontiguousarray(value)).digest()
    elif isinstance(value, torch.Tensor):
        yield from _words(value.detach().cpu().numpy(), above)
    elif id(value) in above:
        yield f'level {above.index(id(value))}'.encode()
    elif isinstance(value, np.ndarray):  # of objects
        yield str(value.shape).encode()
        yield from _words(value.tolist(), [*above, id(value)])
    elif isinstance(value, dict):
        yield type(value).__name__.encode()
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _words(value[key], [*above, id(value)])
    elif isinstance(value, (list, tuple)):
        yield type(value).__name__.encode()
        for item in value:
            yield from _words(item, [*above, id(value)])
    elif isinstance(value, (set, frozenset)):
        yield from _words(sorted(map(repr, value)), above)
    elif isinstance(value, type) or isbuiltin(value):
        yield _name(value)
    elif isinstance(value, _GENERATORS):  # views seed them; where they stand is chance
        yield _name(type(value))
    elif isinstance(value, (FunctionType, MethodType)):
        yield _name(value)
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        owner = getattr(value, '__self__', None)
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, inside, owner]
        yield from _words(parts, [*above, id(value)])
    elif isinstance(value, CodeType):  # of a function, and of functions inside of it
        yield value.co_code
        yield from _words([value.co_consts, value.co_names], [*above, id(value)])
    else:
        yield _name(type(value))
        yield from _words(_state(value), [*above, id(value)])


def _name(kind: Any) -> bytes:
    return f'{kind.__module__}.{kind.__qualname__}'.encode()


def _state(value: Any) -> Any:
    """What an object is made of: its attributes, or what a copy of it would be made from."""
    own = type(value)
    if hasattr(value, '__dict__') and own.__reduce__ is object.__reduce__:
        return vars(value)
    registered = copyreg.dispatch_table.get(own)
    try:
        made_from = registered(value) if registered else value.__reduce_ex__(4)
    except TypeError:  # nothing can copy it
        return getattr(value, '__dict__', {})
    if isinstance(made_from, str):
        return made_from
    arguments, state, items, pairs = (*made_from[1:], None, None, None)[:4]
    return [arguments, state, list(items or ()), list(pairs or ())]
