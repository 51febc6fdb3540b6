"""Find the last checkpoint of a training that is whole and finite, and say what is passed over."""

import math
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from torch import Tensor

from .checkpoints import UnsafeCheckpointError, read_checkpoint
from .errors import ClassroomError

_NUMBER = re.compile(r'\d+(?=\D*$)')


class FaultKind(Enum):
    """Kinds of faults of a checkpoint."""

    DAMAGED = auto()  # or missing, empty, cut short: it cannot be read
    HAS_CODE = auto()
    NO_WEIGHTS = auto()
    NOT_FINITE = auto()


@dataclass(frozen=True)
class Fault:
    """Why a training cannot continue from a checkpoint.

    Attributes:
        kind: Kind of the fault.
        text: What is wrong, as the rest of a sentence that begins with the checkpoint.
    """

    kind: FaultKind
    text: str


def find_last_good(
    work_dir: Path | str, parameters: Collection[str] = ()
) -> tuple[Path | None, list[str]]:
    """Find the checkpoint that ``--resume`` continues from.

    This is the one that ``last_checkpoint`` names, as in MMEngine, if it is good. Else it is the
    newest one that is, of those with a smaller number.

    Args:
        work_dir: Folder of ``last_checkpoint``. The others are sought there, and in the folder of
            the one that it names.
        parameters: Names of the model's parameters; see :func:`fault_of`.

    Returns:
        The checkpoint, or None if there is none; and a line for each that was passed over.
    """
    passed: list[str] = []
    for path in _candidates(Path(work_dir)):
        fault = fault_of(path, parameters)
        if fault is None:
            return path, passed
        passed.append(f'{path} {fault.text}')
    return None, passed


def fault_of(path: Path, parameters: Collection[str] = ()) -> Fault | None:
    """Why a training cannot continue from a checkpoint; None if it can.

    Args:
        path: A local file.
        parameters: Names of the model's parameters, which must all be finite. Of other tensors,
            only NaN and +inf are faults: masks of attention may hold -inf.
    """
    if path.is_dir():  # DeepSpeed's
        return None
    if not path.is_file():
        return Fault(FaultKind.DAMAGED, 'does not exist')
    if not path.stat().st_size:
        return Fault(FaultKind.DAMAGED, 'is empty')
    try:
        content = read_checkpoint(path)
        damaged = _damaged_part(path)
    except UnsafeCheckpointError:
        return Fault(FaultKind.HAS_CODE, 'has code in it. Nothing was run')
    except ClassroomError:
        return Fault(FaultKind.DAMAGED, 'cannot be read: it was cut short or is damaged')
    if damaged:
        return Fault(FaultKind.DAMAGED, f'is damaged ({damaged})')
    weights = content.get('state_dict', {})
    if not isinstance(weights, dict):
        return Fault(FaultKind.NO_WEIGHTS, 'holds no weights')
    name = not_finite(weights, parameters)
    if name is None:
        return None
    return Fault(FaultKind.NOT_FINITE, f'has weights that are not finite ({name})')


def not_finite(state_dict: Mapping[str, Any], parameters: Collection[str] = ()) -> str | None:
    """Name of the first tensor that is not finite, or None.

    Args:
        state_dict: Tensors by name.
        parameters: See :func:`fault_of`.
    """
    for name, value in state_dict.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
            continue
        # NaN is in both extremes if it is anywhere. One pass, without a copy.
        low, high = (extreme.isfinite().item() for extreme in value.detach().aminmax())
        if not high or (not low and name in parameters):
            return name
    return None


def _candidates(work_dir: Path) -> Iterator[Path]:
    """The checkpoint of ``last_checkpoint``, then those before it, the newest first."""
    pointer = work_dir / 'last_checkpoint'
    named = Path(pointer.read_text(errors='replace').strip()) if pointer.is_file() else Path()
    if not named.name:  # a kill came before it was written
        kinds, limit, folders = ('epoch_{}', 'iter_{}'), math.inf, {work_dir}
    else:
        kinds, limit, folders = (_kind(named),), _number(named), {work_dir, named.parent}
        yield named
    files = {path for folder in folders for path in folder.glob('*.pth')}
    others = [path for path in files if _kind(path) in kinds and _number(path) < limit]
    # By time, because an earlier training may have left greater numbers.
    yield from sorted(others, key=lambda path: (path.stat().st_mtime, _number(path)), reverse=True)


def _kind(path: Path) -> str:
    return _NUMBER.sub('{}', path.stem)


def _number(path: Path) -> int:
    found = _NUMBER.search(path.stem)
    return int(found[0]) if found else -1


def _damaged_part(path: Path) -> str | None:
    """The first part of a file whose checksum is wrong. PyTorch itself does not compare them."""
    if not zipfile.is_zipfile(path):  # PyTorch's format before 1.6
        return None
    with zipfile.ZipFile(path) as file:
        return file.testzip()
