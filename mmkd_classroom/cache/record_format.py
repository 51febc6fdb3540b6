"""How a mentor's output is stored: a record of fixed size, packed and unpacked on the device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ClassroomError
from ..structures import MentorOutput

#: Of what is stored: to be increased when joints are decoded or outputs are packed in another way.
VERSION = 1

# Coordinates of a joint, with their scales: float16 would move them by a tenth of a pixel.
_COORDINATES = 4
_TYPES = {'fp32': torch.float32, 'fp16': torch.float16}


def check_precision(precision: str) -> None:
    """Raise a :class:`ClassroomError` unless records can have this precision."""
    if precision not in _TYPES:
        raise ClassroomError(
            f'model.cache.precision is {precision!r}: choose one of {", ".join(_TYPES)}.'
        )


@dataclass(frozen=True)
class Field:
    """One tensor of a record.

    Attributes:
        name: What it is.
        shape: Shape for one sample.
        dtype: As it is stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class RecordFormat:
    """Packs outputs of one mentor into records, and back.

    Joints, confidences and whether the output is finite are always exact. Values are stored
    densely, or sparsely: the largest cells of each distribution, and one value for all others,
    which keeps their share of the student's softmax at temperature 1.

    Args:
        shapes: Shapes of one sample's values, ``(K, ...)`` for each distribution of an item.
        joints: Number of joints; None for classes.
        factor: Logits per unit of the output's values.
        precision: ``'fp16'`` or ``'fp32'``, of the values.
        cells: How many cells of each distribution are stored, at least 1; None stores all.

    Attributes:
        size: Bytes of a record.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        joints: int | None,
        factor: float,
        precision: str = 'fp16',
        cells: int | None = None,
    ) -> None:
        self.factor = factor
        self.shapes = [tuple(shape) for shape in shapes]
        self.joints = joints
        self.cells: list[int | None] = []
        dtype = _TYPES[precision]
        self.fields: list[Field] = []
        for index, shape in enumerate(self.shapes):
            coordinates = joints is not None and len(shape) == 2 and shape[1] <= _COORDINATES
            few = cells is None or cells >= torch.Size(shape[1:]).numel()
            kept = None if coordinates or few else cells
            self.cells.append(kept)
            if kept is None:
                kind = torch.float32 if coordinates else dtype
                self.fields.append(Field(f'values_{index}', shape, kind))
                continue
            small = torch.Size(shape[1:]).numel() <= torch.iinfo(torch.int16).max
            where = torch.int16 if small else torch.int32
            self.fields += [
                Field(f'values_{index}', (shape[0], kept), dtype),
                Field(f'cells_{index}', (shape[0], kept), where),
                Field(f'rest_{index}', (shape[0], 1), dtype),
            ]
        if joints is not None:
            self.fields += [
                Field('joints', (joints, 2), torch.float32),
                Field('confidences', (joints,), torch.float32),
            ]
        self.fields.append(Field('finite', (1,), torch.uint8))
        self.size = sum(field.size for field in self.fields)

    @staticmethod
    def shape_of(output: MentorOutput) -> dict[str, Any]:
        """The arguments ``shapes`` and ``joints`` for a mentor that gives such outputs."""
        return dict(
            shapes=[list(values.shape[1:]) for values in output.values],
            joints=None if output.joints is None else output.joints.shape[1],
        )

    def pack(self, output: MentorOutput) -> Tensor:
        """Records ``(N, size)``, bytes on the output's device.

        Raises:
            ClassroomError: The output has other shapes, so the cache's manifest is wrong.
        """
        found = self.shape_of(output)
        if found != dict(shapes=list(map(list, self.shapes)), joints=self.joints):
            raise ClassroomError(
                f'model.cache: a mentor gives outputs of the shape {found}, its manifest.json says '
                f'{self.shapes} and {self.joints} joints. Remove this cache.'
            )
        tensors: dict[str, Tensor] = dict(finite=output.finite[:, None])
        for index, (values, kept) in enumerate(zip(output.values, self.cells)):
            if kept is None:
                tensors[f'values_{index}'] = values
            else:
                flat = values.flatten(2).float()
                top, where = flat.topk(kept, dim=-1)
                others = flat.scatter(-1, where, -torch.inf) * self.factor
                count = flat.shape[-1] - kept
                rest = (others.logsumexp(-1, keepdim=True) - math.log(count)) / self.factor
                tensors.update({f'values_{index}': top, f'cells_{index}': where})
                tensors[f'rest_{index}'] = rest
        for name in ('joints', 'confidences'):
            if getattr(output, name) is not None:
                tensors[name] = getattr(output, name)
        count = len(output.finite)
        parts = []
        for field in self.fields:
            tensor = tensors[field.name]
            if field.dtype.is_floating_point:
                limit = torch.finfo(field.dtype).max
                tensor = tensor.clamp(-limit, limit)
            tensor = tensor.to(field.dtype).contiguous()
            parts.append(tensor.view(torch.uint8).reshape(count, field.size))
        return torch.cat(parts, dim=1)

    def unpack(self, records: Tensor) -> MentorOutput:
        """The output of records ``(N, size)``, on their device."""
        tensors, start = {}, 0
        for field in self.fields:
            part = records[:, start : start + field.size]
            # A copy, for a view of another type needs its bytes side by side, from the first on.
            part = part.clone(memory_format=torch.contiguous_format).flatten()
            tensors[field.name] = part.view(field.dtype).view(-1, *field.shape)
            start += field.size
        values = []
        for index, (shape, kept) in enumerate(zip(self.shapes, self.cells)):
            stored = tensors[f'values_{index}'].float()
            if kept is not None:
                rest = tensors[f'rest_{index}'].float()
                cells = torch.Size(shape[1:]).numel()
                full = rest.expand(-1, -1, cells).contiguous()
                stored = full.scatter(-1, tensors[f'cells_{index}'].long(), stored)
                stored = stored.view(-1, *shape)
            values.append(stored)
        return MentorOutput(
            tuple(values),
            tensors['finite'][:, 0].bool(),
            tensors.get('joints'),
            tensors.get('confidences'),
        )
