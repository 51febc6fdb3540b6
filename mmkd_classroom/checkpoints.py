"""Read checkpoints safely and strictly: no code in a file is run, and all keys must match.

A checkpoint is a pickle, which can run arbitrary code. PyTorch's ``weights_only`` unpickler
prevents this, but it also refuses objects that MMEngine saves beside the weights: numpy arrays in
the data set's metainfo, and ``HistoryBuffer``, whose pickle calls ``getattr``. This module allows
these by name and replaces ``getattr`` by a function that does nothing.
"""

import codecs
import contextlib
import hashlib
import logging
import os
import pickle
import re
import socket
import tarfile
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import numpy as np
import torch
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from torch import Tensor, nn

from .errors import ClassroomError, reason, shown

_SHOWN_KEYS = 10
_PATIENCE = 60  # seconds in which a server must send something
_INFLATED = 10  # times its size: PyTorch does not compress, so this is no checkpoint
# OpenMMLab's file names end with the start of the SHA-256: `-f257d4e6.pth`,
# `-71403f1c_20220913.pth`.
_HASH = re.compile(r'-(?!20\d{6}\b)([0-9a-f]{8,64})(?:_\d{8})?\.pth$')
_REFUSED = re.compile(r'GLOBAL (\S+)')


class UnsafeCheckpointError(ClassroomError):
    """A checkpoint asks Python for more than weights need. Nothing of it was run."""


def load_weights(model: nn.Module, checkpoint: str | Path, *, key: str = 'checkpoint') -> None:
    """Load a checkpoint into a model. The keys of both must be the same.

    Some architectures recompute buffers and remove them from the weights that they load, such as
    Swin's tables of relative positions. These may be missing in the file.

    Args:
        model: Stock model; its own hooks that convert older weights are run.
        checkpoint: Path or URL. The weights are the whole file or its entry ``state_dict`` or
            ``model``; a prefix ``module.`` of all keys is removed.
        key: Config key of ``checkpoint``, for messages, such as ``model.mentors[1].checkpoint``.

    Raises:
        ClassroomError: The file cannot be read, would run code, or does not fit the model.
    """
    where = f'{key} = {str(checkpoint)!r}'
    state_dict = _state_dict(read_checkpoint(checkpoint, key=key), where)
    try:
        with _forgiving(model, _made_anew(model) | set(state_dict)):
            model.load_state_dict(state_dict, strict=True)
    except Exception as error:  # RuntimeError: torch lists the keys; others come from hooks
        account = _shorten(str(error)) if type(error) is RuntimeError else ''
        raise ClassroomError(
            f'{where} does not fit {type(model).__name__}:\n{account or reason(error)}\n'
            'Give the checkpoint that belongs to this config, or the config that belongs to it.'
        ) from error


def read_checkpoint(
    checkpoint: str | Path,
    *,
    key: str = 'checkpoint',
    map_location: Any | None = 'cpu',
) -> dict[str, Any]:
    """Read a checkpoint from any source without running code in it.

    Args:
        checkpoint: Path or URL; a URL is downloaded once, see :func:`download`.
        key: Config key of ``checkpoint``, for messages.
        map_location: As in :func:`torch.load`.

    Returns:
        The content of the file, including any ``HistoryBuffer``.

    Raises:
        ClassroomError: The file is missing, damaged or not a checkpoint, or it would run code.
    """
    where = f'{key} = {str(checkpoint)!r}'
    if str(checkpoint).startswith(('http://', 'https://')):
        path = download(str(checkpoint), key=key)
    else:
        path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise ClassroomError(f'{where}: there is no such file (sought at {path.absolute()}).')
    try:
        content = _load(path, map_location)
    except Exception as error:  # torch raises various types for damaged files
        refused = _REFUSED.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise UnsafeCheckpointError(
                f'{where} is refused: it asks Python to use {refused[1]}, which no weights need, '
                'and loading it could run any code. Nothing was run. If its author is trusted, '
                'have it saved again with its `state_dict` alone.'
            ) from None
        raise ClassroomError(
            f'{where} cannot be read: it is truncated, damaged or no PyTorch checkpoint '
            f'({_first_line(error)}). Delete {path} and fetch or write it again.'
        ) from error
    if not isinstance(content, dict):
        raise ClassroomError(
            f'{where} holds a {type(content).__name__}, not a dict of weights. Save '
            '`model.state_dict()` instead.'
        )
    return content


def download(url: str, *, key: str = 'checkpoint') -> Path:
    """Download a file to torch.hub's directory, where MMEngine's own loader also looks for it.

    It is downloaded once per machine; all processes must call this function. An incomplete file
    never has the final name, and the SHA-256 in OpenMMLab's file names is checked.

    Args:
        url: Address of the file.
        key: Config key of ``url``, for messages.

    Returns:
        Path of the file.

    Raises:
        ClassroomError: The download failed, the server sent nothing for a minute, or the SHA-256
            differs from the one in the name.
    """
    name = _file_name(url)
    if name in ('', '..'):
        raise ClassroomError(f'{key} = {url!r} ends with no name of a file: give its whole URL.')
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    failure, patience = None, socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(patience or _PATIENCE)
        if int(os.environ.get('LOCAL_RANK', 0)) == 0 and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = _HASH.search(path.name)
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=True)
    except Exception as error:  # urllib raises various types for odd URLs and answers
        failure = error
    finally:
        socket.setdefaulttimeout(patience)
    barrier()  # also after a failure, because the other processes wait here
    if not path.is_file():
        why = (failure and reason(failure)) or 'by the first process of this machine'
        raise ClassroomError(
            f'{key} = {url!r} could not be downloaded ({why}). Fetch it by other means and '
            f'write its path instead, or put it at {path}.'
        ) from failure
    check_hash(path, f'{key} = {url!r}')
    return path


def _file_name(url: str) -> str:
    """Last part of a URL's path; '' if it has none."""
    try:
        return Path(urlparse(url).path).name
    except ValueError:  # such as 'http://['
        return ''


def check_hash(path: Path, where: str) -> None:
    """Compare a file with the SHA-256 in its name, if there is one.

    Args:
        path: An existing file.
        where: Config line of the file, for messages, such as
            ``model.mentors[1].checkpoint = 'x.pth'``.

    Raises:
        ClassroomError: The SHA-256 of the file differs from the one in its name.
    """
    expected = _HASH.search(path.name)
    if expected is None:
        return
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(expected[1]):
        raise ClassroomError(
            f'{where}: the SHA-256 of {path} begins with {digest.hexdigest()[:8]}, not with '
            f'{expected[1]} as its name says. Delete it and fetch it again, or, if it is what you '
            'want, rename it.'
        )


def register_safe_loader() -> None:
    """Make MMEngine read files and URLs with :func:`read_checkpoint` in this process.

    ``load_from``, ``--resume`` and ``init_cfg`` then read all of MMEngine's checkpoints with any
    version of PyTorch, without running code in them.
    """
    for prefixes in ('', ('http://', 'https://')):
        CheckpointLoader.register_scheme(prefixes, loader=load_from_weights_only, force=True)
    # By its name in this module, torchvision://, open-mmlab:// and mmcls:// read their URLs.
    mmengine.runner.checkpoint.load_from_http = load_from_weights_only


# MMEngine does not say which key of the config it reads.
_OTHER_KEYS = 'load_from or an init_cfg.checkpoint'


def load_from_weights_only(filename: str, map_location: Any | None = None) -> dict[str, Any]:
    """:func:`read_checkpoint` with the signature that MMEngine requires.

    MMEngine's ``Runner.resume`` runs the text ``meta.config`` of a checkpoint as Python. MMEngine
    itself writes no such entry; it is left out, with a warning.

    MMEngine logs "Loads checkpoint by weights_only backend", from the name of this function.

    Raises:
        ClassroomError: See :func:`read_checkpoint`; or its weights have no names.
    """
    content = read_checkpoint(filename, key=_OTHER_KEYS, map_location=map_location)
    weights, meta = content.get('state_dict', content), content.get('meta')
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise ClassroomError(
            f'The checkpoint {str(filename)!r} holds no weights: its entry `state_dict`, or the '
            'whole file, is no dict with names as keys.'
        )
    if isinstance(meta, dict) and meta.pop('config', None) is not None:
        print_log(
            f'{filename} has an entry meta.config, which MMEngine would run as Python to compare '
            'the number of GPUs. It is left out.',
            'current',
            logging.WARNING,
        )
    return content


def _made_anew(model: nn.Module) -> set[str]:
    """Keys that a model's hooks remove even when it loads its own state dict."""
    return set(model.load_state_dict(model.state_dict(), strict=False).missing_keys)


@contextlib.contextmanager
def _forgiving(model: nn.Module, names: set[str]) -> Iterator[None]:
    """Allow these buffers to be missing when a state dict is loaded. Parameters must be present.

    Args:
        model: Model that loads its state dict in the block.
        names: Keys that its hooks remove, and all keys of the file. If a key of the file is
            reported as missing, a hook has removed it; Swin's does if the window sizes differ.
    """
    entries = model.state_dict(keep_vars=True).items()
    forgiven = names & {name for name, value in entries if not isinstance(value, nn.Parameter)}

    def forgive(_: nn.Module, keys: Any) -> None:
        keys.missing_keys[:] = [name for name in keys.missing_keys if name not in forgiven]

    hook = model.register_load_state_dict_post_hook(forgive)
    try:
        yield
    finally:
        hook.remove()


def _load(path: Path, map_location: Any | None) -> Any:
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


def _first_line(error: Exception) -> str:
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


def _state_dict(content: dict[str, Any], where: str) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, without DDP's prefix."""
    entries = (content.get(name) for name in ('state_dict', 'model'))
    weights = next((entry for entry in entries if isinstance(entry, dict)), content)
    if not weights or not all(
        isinstance(n, str) and isinstance(v, Tensor) for n, v in weights.items()
    ):
        raise ClassroomError(
            f'{where} holds no weights: neither the whole file nor its entry `state_dict` or '
            '`model` is a dict of names and tensors. It has the entries '
            f'{shown(list(content)[:_SHOWN_KEYS])}.'
        )
    if not all(name.startswith('module.') for name in weights):
        return weights
    stripped = OrderedDict((name[len('module.') :], value) for name, value in weights.items())
    # Module versions, which load hooks read.
    with contextlib.suppress(AttributeError, TypeError):
        stripped._metadata = {
            name[len('module.') :]: version for name, version in weights._metadata.items()
        }
    return stripped


def _shorten(message: str) -> str:
    """Shorten PyTorch's list of wrong keys to at most ten keys of each kind."""
    lines: list[str] = []
    mismatches = 0
    for line in message.splitlines()[1:]:
        names = re.findall(r'"[^"]+"', line)
        mismatches += line.lstrip().startswith('size mismatch')
        if len(names) > _SHOWN_KEYS:
            line = f'{line.split(":")[0]}: {", ".join(names[:_SHOWN_KEYS])}'
            line += f' and {len(names) - _SHOWN_KEYS} more'
        if mismatches <= _SHOWN_KEYS or not line.lstrip().startswith('size mismatch'):
            lines.append(line)
    if mismatches > _SHOWN_KEYS:
        lines.append(f'\tand {mismatches - _SHOWN_KEYS} more of another size')
    return '\n'.join(lines)
