"""Unpickle checkpoints without running code in them.

A checkpoint is a pickle, which can run arbitrary code. PyTorch's ``weights_only`` unpickler
prevents this, but it also refuses objects that MMEngine saves beside the weights: numpy arrays in
the data set's metainfo, and ``HistoryBuffer``, whose pickle calls ``getattr``. This module allows
these by name and replaces ``getattr`` by a function that does nothing.
"""

import codecs
import contextlib
import pickle
import re
import tarfile
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

_INFLATED = 10  # times its size: PyTorch does not compress, so this is no checkpoint
_REFUSED = re.compile(r'GLOBAL (\S+)')


def unpickle(path: Path, map_location: Any | None = None) -> Any:
    """Read a file of :func:`torch.save`.

    Args:
        path: An existing file.
        map_location: As in :func:`torch.load`.

    Raises:
        pickle.UnpicklingError: The file would run code; see :func:`refused_name`.
        Exception: The file is damaged or has another format. PyTorch raises various types.
    """
    _refuse_archives(path)
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        allowed = [(value, name) for name, value in _ALLOWED.items()]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location=map_location, weights_only=True)
    return torch.load(
        path, map_location=map_location, weights_only=False, pickle_module=_RESTRICTED_PICKLE
    )


def _refuse_archives(path: Path) -> None:
    """Raise an error for files that would be unpacked to disk, or to far more than their size."""
    with contextlib.suppress(tarfile.TarError), tarfile.open(path, 'r:'):
        # PyTorch 0.1's format; torch.load would unpack it to disk.
        raise ValueError('a tar archive')
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _INFLATED * path.stat().st_size:
            raise ValueError(f'it would be unpacked to {unpacked} bytes')


def refused_name(error: Exception) -> str | None:
    """Name that a file asked Python to use, if :func:`unpickle` refused it for that."""
    refused = _REFUSED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    return refused and refused[1]


def first_line(error: Exception) -> str:
    """What :func:`unpickle` raised, in one line."""
    # PyTorch's own message begins with the advice to run what is in the file.
    text = str(error).rpartition('WeightsUnpickler error: ')[2].strip() or 'unexpected end'
    return f'{type(error).__name__}: {text.splitlines()[0][:300]}'


class _RestrictedUnpickler(pickle.Unpickler):
    """Unpickler for PyTorch < 2.6: allow the names of ``weights_only`` and those listed here.

    In these versions ``weights_only`` accepts no further names, and a crafted file can make it run
    code (CVE-2025-32434).
    """

    def find_class(self, module: str, name: str) -> Any:
        name = f'{"builtins" if module == "__builtin__" else module}.{name}'  # Python 2's name
        allowed = {**torch._weights_only_unpickler._get_allowed_globals(), **_PLAIN, **_ALLOWED}
        if name not in allowed:
            raise pickle.UnpicklingError(f'GLOBAL {name} is not allowed')
        return allowed[name]


_RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__='restricted_pickle',
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load(),
)


class _History(HistoryBuffer):
    """Turns into a plain ``HistoryBuffer`` when its state is set."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Statistics methods from the file would replace those of all HistoryBuffers.
        super().__setstate__({k: v for k, v in state.items() if k != 'statistics_methods'})
        self.__class__ = HistoryBuffer


def _no_getattr(*_: Any) -> None:
    """Replacement for ``getattr`` in a file; does nothing."""


def _allowed_globals() -> dict[str, Any]:
    """Types in MMEngine's checkpoints besides tensors and plain types, by pickled name."""
    allowed = {
        'mmengine.logging.history_buffer.HistoryBuffer': _History,
        'builtins.getattr': _no_getattr,
        '_codecs.encode': codecs.encode,  # bytes of arrays; not every PyTorch allows it by default
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for core in ('numpy.core', 'numpy._core'):  # numpy 1 and 2
        allowed[f'{core}.multiarray._reconstruct'] = np.zeros(1).__reduce__()[0]
        allowed[f'{core}.multiarray.scalar'] = np.float64(0).__reduce__()[0]
    for code in np.typecodes['All']:  # not named in files; weights_only checks them in BUILD
        kind = type(np.dtype(code))
        allowed[f'{kind.__module__}.{kind.__qualname__}'] = kind
    return allowed


_ALLOWED = _allowed_globals()

# What `weights_only` allows only in later versions, and PlainCheckpointHook writes in all.
_PLAIN = {
    'builtins.set': set,
    'builtins.complex': complex,
    'builtins.bytearray': bytearray,
    'torch.device': torch.device,
    **{str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)},
}
