"""Read checkpoints safely and strictly: no code in a file is run, and all keys must match."""

import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mmengine.runner.checkpoint
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from .downloads import download
from .errors import ClassroomError, reason, shown
from .unpickling import first_line, refused_name, unpickle

_SHOWN_KEYS = 10


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
        checkpoint: Path or URL; a URL is downloaded once, see ``downloads.py``.
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
        content = unpickle(path, map_location)
    except Exception as error:  # torch raises various types for damaged files
        if refused := refused_name(error):
            raise UnsafeCheckpointError(
                f'{where} is refused: it asks Python to use {refused}, which no weights need, '
                'and loading it could run any code. Nothing was run. If its author is trusted, '
                'have it saved again with its `state_dict` alone.'
            ) from None
        raise ClassroomError(
            f'{where} cannot be read: it is truncated, damaged or no PyTorch checkpoint '
            f'({first_line(error)}). Delete {path} and fetch or write it again.'
        ) from error
    if not isinstance(content, dict):
        raise ClassroomError(
            f'{where} holds a {type(content).__name__}, not a dict of weights. Save '
            '`model.state_dict()` instead.'
        )
    return content


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
