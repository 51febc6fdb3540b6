"""Reading checkpoints: nothing in a file is trusted, and every key must fit.

A checkpoint is a pickle, and a pickle can run anything. PyTorch's ``weights_only`` unpickler does
not, but it also refuses what MMEngine itself puts beside the weights: numpy arrays in the data
set's metainfo, and ``HistoryBuffer``, whose pickle calls ``getattr``. Here those few are allowed
by name, and the calls to ``getattr`` do nothing.
"""

import codecs
import contextlib
import hashlib
import os
import pickle
import re
import tarfile
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from torch import Tensor, nn

from .errors import ClassroomError, reason

_SHOWN_KEYS = 10
# OpenMMLab ends a file's name with its SHA-256: `-f257d4e6.pth`, `-71403f1c_20220913.pth`.
_HASH = re.compile(r'-(?!20\d{6}\b)([0-9a-f]{8,64})(?:_\d{8})?\.pth$')
_REFUSED = re.compile(r'GLOBAL (\S+)')


def load_weights(model: nn.Module, checkpoint: str | Path, *, key: str = 'checkpoint') -> None:
    """Load a checkpoint into a model of which every weight is in the file, and the reverse.

    Some architectures make buffers anew and drop them from what they load, such as Swin's tables
    of relative positions. These need not be in the file.

    Args:
        model: Stock model; its own hooks for weights of older versions run.
        checkpoint: Path or URL. The weights are the whole file or its entry ``state_dict`` or
            ``model``; a ``module.`` before all keys is dropped.
        key: Where the user wrote ``checkpoint``, for messages, such as
            ``model.mentors[1].checkpoint``.

    Raises:
        ClassroomError: The file cannot be read, would run code, or does not fit the model.
    """
    where = f'{key} = {str(checkpoint)!r}'
    state_dict = _state_dict(read_checkpoint(checkpoint, key=key), where)
    try:
        with _forgiving(model, _made_anew(model) | set(state_dict)):
            model.load_state_dict(state_dict, strict=True)
    except Exception as error:  # a RuntimeError is torch's account, others are those of hooks
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
    """Read a checkpoint of any origin without running anything in it.

    Args:
        checkpoint: Path or URL; a URL is downloaded once, see :func:`download`.
        key: Where the user wrote ``checkpoint``, for messages.
        map_location: As in :func:`torch.load`.

    Returns:
        All that the file holds; a ``HistoryBuffer`` comes back as one.

    Raises:
        ClassroomError: The file is missing, damaged or no checkpoint, or it would run code.
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
    except Exception as error:  # torch raises a different type for each way to be damaged
        refused = _REFUSED.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise ClassroomError(
                f'{where} is refused: it asks Python to use {refused[1]}, which no weights need, '
                'and loading it could run any code. Nothing was run. If its author is trusted, '
                'have it saved again with its `state_dict` alone.'
            ) from None
        reason = str(error).strip().splitlines() or ['unexpected end']
        raise ClassroomError(
            f'{where} cannot be read: it is truncated, damaged or no PyTorch checkpoint '
            f'({type(error).__name__}: {reason[0]}). Delete {path} and fetch or write it again.'
        ) from error
    if not isinstance(content, dict):
        raise ClassroomError(
            f'{where} holds a {type(content).__name__}, not a dict of weights. Save '
            '`model.state_dict()` instead.'
        )
    return content


def download(url: str, *, key: str = 'checkpoint') -> Path:
    """Fetch a file into torch.hub's directory, where MMEngine's own loader finds it too.

    It is fetched once on each machine; all processes must call this together. A part of a file is
    never left under the file's name, and the SHA-256 that OpenMMLab writes into its file names
    is checked.

    Args:
        url: Address of the file.
        key: Where the user wrote ``url``, for messages.

    Returns:
        Where the file lies.

    Raises:
        ClassroomError: The file could not be fetched, or is not the one its name says.
    """
    path = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    failure = None
    try:
        if int(os.environ.get('LOCAL_RANK', 0)) == 0 and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = _HASH.search(path.name)
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=True)
    except (OSError, RuntimeError) as error:
        failure = error
    barrier()  # also after a failure, for the other processes wait here
    if not path.is_file():
        why = failure or 'by the first process of this machine'
        raise ClassroomError(
            f'{key} = {url!r} could not be downloaded ({why}). Fetch it by other means and '
            f'write its path instead, or put it at {path}.'
        ) from failure
    check_hash(path, f'{key} = {url!r}')
    return path


def check_hash(path: Path, where: str) -> None:
    """Compare a file with the SHA-256 in its name, where it has one.

    Args:
        path: An existing file.
        where: What the user wrote, for messages, such as ``model.mentors[1].checkpoint = 'x.pth'``.

    Raises:
        ClassroomError: The file is not the one its name says.
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
    """Let MMEngine read files and URLs with :func:`read_checkpoint` in this process.

    Then ``load_from``, ``--resume`` and ``init_cfg`` work with every checkpoint of MMEngine's on
    any PyTorch, and trust none.
    """
    for prefixes in ('', ('http://', 'https://')):
        CheckpointLoader.register_scheme(prefixes, loader=load_from_weights_only, force=True)


def load_from_weights_only(filename: str, map_location: Any | None = None) -> dict[str, Any]:
    """:func:`read_checkpoint` with the signature that MMEngine asks for.

    MMEngine logs "Loads checkpoint by weights_only backend", from the function's name.
    """
    return read_checkpoint(filename, map_location=map_location)


def _made_anew(model: nn.Module) -> set[str]:
    """What a model does not even take from its own weights: its hooks drop it."""
    return set(model.load_state_dict(model.state_dict(), strict=False).missing_keys)


@contextlib.contextmanager
def _forgiving(model: nn.Module, names: set[str]) -> Iterator[None]:
    """Do not call these buffers missing. No parameter is forgiven, for it has been learned.

    Args:
        model: Loads its state dict within.
        names: Those that its hooks drop, and all that are in the file: if one of these misses,
            a hook has dropped it, as Swin's does where the file's windows have another size.
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
    if tarfile.is_tarfile(path):  # PyTorch 0.1's format, which torch.load would unpack to disk
        raise tarfile.TarError('a tar archive')
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        allowed = [(value, name) for name, value in _ALLOWED.items()]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location=map_location, weights_only=True)
    return torch.load(
        path, map_location=map_location, weights_only=False, pickle_module=_RESTRICTED_PICKLE
    )


class _RestrictedUnpickler(pickle.Unpickler):
    """For PyTorch < 2.6: the names that ``weights_only`` and we allow, and no other.

    There ``weights_only`` takes no names, and could itself be made to run code (CVE-2025-32434).
    """

    def find_class(self, module: str, name: str) -> Any:
        name = f'{"builtins" if module == "__builtin__" else module}.{name}'  # Python 2's name
        allowed = {**torch._weights_only_unpickler._get_allowed_globals(), **_ALLOWED}
        if name not in allowed:
            raise pickle.UnpicklingError(f'GLOBAL {name} is not allowed')
        return allowed[name]


_RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__='restricted_pickle',
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load(),
)


class _History(HistoryBuffer):
    """Becomes a plain ``HistoryBuffer`` when it gets its state."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The file's statistics methods would replace those of all HistoryBuffers.
        super().__setstate__({k: v for k, v in state.items() if k != 'statistics_methods'})
        self.__class__ = HistoryBuffer


def _no_getattr(*_: Any) -> None:
    """What a file gets when it asks for ``getattr``."""


def _allowed_globals() -> dict[str, Any]:
    """What MMEngine's checkpoints hold besides tensors and plain types, by pickled name."""
    allowed = {
        'mmengine.logging.history_buffer.HistoryBuffer': _History,
        'builtins.getattr': _no_getattr,
        '_codecs.encode': codecs.encode,  # an array's bytes; not every PyTorch allows it itself
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for core in ('numpy.core', 'numpy._core'):  # numpy 1 and 2
        allowed[f'{core}.multiarray._reconstruct'] = np.zeros(1).__reduce__()[0]
        allowed[f'{core}.multiarray.scalar'] = np.float64(0).__reduce__()[0]
    for code in np.typecodes['All']:  # no file names these; weights_only asks for them in BUILD
        kind = type(np.dtype(code))
        allowed[f'{kind.__module__}.{kind.__qualname__}'] = kind
    return allowed


_ALLOWED = _allowed_globals()


def _state_dict(content: dict[str, Any], where: str) -> dict[str, Tensor]:
    """The weights in a checkpoint, without DDP's prefix."""
    entries = (content.get(name) for name in ('state_dict', 'model'))
    weights = next((entry for entry in entries if isinstance(entry, dict)), content)
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ClassroomError(
            f'{where} holds no weights: neither the whole file nor its entry `state_dict` or '
            f'`model` is a dict of tensors. It has the entries {list(content)[:_SHOWN_KEYS]}.'
        )
    if not all(name.startswith('module.') for name in weights):
        return weights
    stripped = OrderedDict((name[len('module.') :], value) for name, value in weights.items())
    with contextlib.suppress(AttributeError):  # versions of the modules, for their hooks
        stripped._metadata = {
            name[len('module.') :]: version for name, version in weights._metadata.items()
        }
    return stripped


def _shorten(message: str) -> str:
    """PyTorch's account of what does not fit, with at most ten keys of each kind."""
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
