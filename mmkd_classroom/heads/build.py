"""Find the head adapter of a model."""

import inspect
from typing import Any

from mmengine.config import Config
from torch import nn

from ..errors import ClassroomError
from ..options import check_options, find_type, without_marks
from ..registry import TASK_UTILS
from .base import HeadAdapter


def build_adapter(student: nn.Module, cfg: dict | None = None) -> HeadAdapter:
    """Build the adapter of a student.

    Args:
        student: Stock model.
        cfg: ``model.adapter``: ``dict(type=..., **options)``. The default type is the adapter
            that accepts the student.

    Raises:
        ClassroomError: No adapter accepts the student, or an option is wrong.
    """
    key = 'model.student'
    if cfg is not None and not isinstance(cfg, dict):
        raise ClassroomError(f'model.adapter is {cfg!r}: write dict(option=...).')
    if 'type' not in (cfg or {}):
        cfg = dict(cfg or {}, type=_adapter_type(student, key))
    kind = find_type(cfg['type'], TASK_UTILS, 'model.adapter', HeadAdapter)
    if not (_is_adapter(kind) and kind.accepts(student)):
        raise ClassroomError(
            f'model.adapter.type is {cfg["type"]!r}, but {key} is {_description(student)}: leave '
            'the type out, it follows from the student.'
        )
    options = without_marks(cfg)
    del options['type']
    given = dict(model=student, key=key, config=None)
    check_options(kind, options, 'model.adapter', given)
    return kind(**options, **given)


def mentor_adapter(
    mentor: nn.Module, student: HeadAdapter, key: str, config: Config, **options: Any
) -> HeadAdapter:
    """Build the adapter of a mentor.

    Args:
        mentor: Stock model.
        student: Adapter of the student.
        key: Config key of the mentor, such as ``model.mentors[0]``, for messages.
        config: Whole config of the mentor.
        options: Options of the adapter in the mentor's entry, such as ``metainfo``.

    Raises:
        ClassroomError: No adapter accepts the mentor, or its items are of another kind than the
            student's.
    """
    found = _adapter_type(mentor, key)
    if found.kind != student.kind:
        raise ClassroomError(
            f'{key} is a {type(mentor).__name__}, which predicts {found.kind}, but the student '
            f'predicts {student.kind}: choose a mentor of the same task.'
        )
    return found(mentor, key, config, **options)


def adapter_types() -> list[type[HeadAdapter]]:
    """All registered head adapters."""
    return [kind for kind in TASK_UTILS.module_dict.values() if _is_adapter(kind)]


def _is_adapter(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, HeadAdapter)


def _adapter_type(model: nn.Module, key: str) -> type[HeadAdapter]:
    """Return the registered adapter that accepts a model; of a class and its subclass, the latter.

    Of several others, the one that was registered last, so that a new one can replace ours.
    """
    kinds = adapter_types()
    accepting = [kind for kind in kinds if kind.accepts(model)]
    for kind in reversed(accepting):
        if not any(other is not kind and issubclass(other, kind) for other in accepting):
            return kind
    raise ClassroomError(
        f'{key} is {_description(model)}. A classroom takes {"; ".join(k.takes for k in kinds)}: '
        'choose a config of such a model.'
    )


def _description(model: nn.Module) -> str:
    """Class, head and codec of a model, for messages."""
    text = f'a {type(model).__name__}'
    head = getattr(model, 'head', None)
    if head is not None:
        text += f' with a {type(head).__name__}'
        head = getattr(head, 'pose_head', head)
    codec = getattr(head, 'decoder', None)
    if codec is not None:
        text += f' and the codec {type(codec).__name__}'
        kind = getattr(codec, 'heatmap_type', None)
        text += f' (heatmap_type={kind!r})' if kind else ''
    return text
