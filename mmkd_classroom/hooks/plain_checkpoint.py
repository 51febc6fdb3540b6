"""Save checkpoints of only tensors and plain types, which every version of PyTorch can load."""

import logging
from collections import OrderedDict
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import Runner
from torch import Tensor

from ..registry import HOOKS

# Types that PyTorch's `weights_only` unpickler accepts, besides tensors and containers.
_ATOMS = (
    type(None), bool, int, float, complex, str, bytes, bytearray, torch.Size, torch.dtype,
    torch.device,
)  # fmt: skip
_HISTORY = 'HistoryBuffer'


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Converts objects in MMEngine's checkpoints to types that ``torch.load`` accepts by default.

    Since PyTorch 2.6, ``torch.load`` refuses MMEngine's own checkpoints because of the history of
    the losses and the numpy arrays in the data set's metainfo. ``--resume``, the stock
    ``tools/test.py`` and the inferencers therefore fail. They work with files written by this hook,
    which cannot run code. These objects are converted:

    ============================  ==================================================
    in memory                     in the file
    ============================  ==================================================
    ``HistoryBuffer``             ``{'HistoryBuffer': {'log_history': Tensor,
                                  'count_history': Tensor, 'max_length': int}}``
    array of numbers              ``Tensor`` of the same type and shape
    other array                   nested list
    numpy scalar                  Python scalar
    dict, list, ... of a          dict, list, tuple or set of plain values
    subclass, such as ConfigDict
    ``Path``                      ``str``
    ``Enum``                      its value
    anything else                 its ``repr``, with a warning
    ============================  ==================================================

    When a file is loaded, the histories and the arrays of the metainfo are restored, so a resumed
    run continues with the same objects. Without this hook, stock code reads the metainfo's colours
    and sigmas from the tensors.

    The hook does not need a classroom and works with any MMEngine training.
    """

    priority = 'LOWEST'  # after hooks that add to the checkpoint, such as EMAHook

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Replace objects in ``checkpoint`` by plain copies; the objects are not changed."""
        for key, value in checkpoint.items():
            checkpoint[key] = plain(value, key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore the objects that :meth:`Runner.resume` needs."""
        hub, meta = checkpoint.get('message_hub'), checkpoint.get('meta')
        if isinstance(hub, dict) and 'log_scalars' in hub:
            hub['log_scalars'] = OrderedDict(
                (name, _history(value)) for name, value in hub['log_scalars'].items()
            )
        if isinstance(meta, dict) and 'dataset_meta' in meta:
            meta['dataset_meta'] = _with_arrays(meta['dataset_meta'])


def plain(value: Any, where: str = 'checkpoint') -> Any:
    """Convert a value to tensors and plain types.

    Args:
        value: Any value.
        where: Its position in the checkpoint, for warnings.

    Returns:
        ``value`` itself if it is plain already, else a plain copy.

    Example:
        >>> plain({'sigmas': np.ones(2, np.float32), 'best': np.float64(0.5)})
        {'sigmas': tensor([1., 1.]), 'best': 0.5}
    """
    if type(value) in _ATOMS or isinstance(value, Tensor):
        return value
    if isinstance(value, HistoryBuffer):
        log, count = (_tensor(array) for array in value.data)
        return {_HISTORY: dict(log_history=log, count_history=count, max_length=value.max_length)}
    if isinstance(value, np.ndarray):
        try:
            return _tensor(value)
        except (TypeError, ValueError):  # strings, objects, other byte orders
            return plain(value.tolist(), where)
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, dict):
        return _plain_dict(value, where)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _plain_sequence(value, where)
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, PurePath):
        return str(value)
    for atom in (int, float, str, bytes):
        if isinstance(value, atom):
            return atom(value)
    print_log(
        f'PlainCheckpointHook: {where} is a {type(value).__name__}, which a checkpoint cannot '
        'hold without being a danger to its reader; its repr is saved.',
        'current',
        level=logging.WARNING,
    )
    return repr(value)


def _plain_dict(value: dict, where: str) -> dict:
    items = [(plain(key, where), plain(item, f'{where}[{key!r}]')) for key, item in value.items()]
    if type(value) not in (dict, OrderedDict):
        return dict(items)
    if all(new is old and key is name for (key, new), (name, old) in zip(items, value.items())):
        return value
    return type(value)(items)


def _plain_sequence(value: Any, where: str) -> Any:
    items = [plain(item, f'{where}[{index}]') for index, item in enumerate(value)]
    for kind in (list, tuple):
        if isinstance(value, kind):
            unchanged = type(value) is kind and all(new is old for new, old in zip(items, value))
            return value if unchanged else kind(items)
    return set(items)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy())  # a copy, because the array may change later


def _history(value: Any) -> Any:
    """Restore a ``HistoryBuffer`` that :func:`plain` converted; other values are not changed."""
    if not (isinstance(value, dict) and _HISTORY in value):
        return value
    saved = value[_HISTORY]
    log, count = (saved[name].cpu().numpy() for name in ('log_history', 'count_history'))
    return HistoryBuffer(log, count, saved['max_length'])


def _with_arrays(value: Any) -> Any:
    """Convert tensors of the metainfo to numpy arrays; originally it has no tensors."""
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, dict):
        return type(value)((key, _with_arrays(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_with_arrays(item) for item in value)
    return value
