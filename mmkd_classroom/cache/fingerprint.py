"""A digest of objects by what they are made of, the same in every process."""

import hashlib
from typing import Any

import numpy as np
import torch


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
    elif isinstance(value, np.ndarray):
        yield f'{value.dtype}{value.shape}'.encode()
        yield hashlib.sha256(np.ascontiguousarray(value)).digest()
    elif isinstance(value, torch.Tensor):
        yield from _words(value.detach().cpu().numpy(), above)
    elif id(value) in above:
        yield f'level {above.index(id(value))}'.encode()
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
    else:
        kind = value if isinstance(value, type) or callable(value) else type(value)
        name = getattr(kind, '__qualname__', type(value).__qualname__)
        yield f'{getattr(kind, "__module__", "")}.{name}'.encode()
        if not isinstance(value, type):
            yield from _words(dict(getattr(value, '__dict__', {})), [*above, id(value)])
