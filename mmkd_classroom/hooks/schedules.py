"""Schedules of values over training: constant, linear or cosine, with a warm-up."""

import math
from collections.abc import Callable

from ..errors import ClassroomError, did_you_mean
from ..options import refuse_unknown

Schedule = Callable[[float], float]

_CURVES = {
    'constant': lambda progress: 0.0,
    'linear': lambda progress: progress,
    'cosine': lambda progress: 0.5 * (1 - math.cos(math.pi * progress)),
}


def build_schedule(cfg: float | dict, key: str) -> Schedule:
    """Build a function from the progress of training, in [0, 1], to a value.

    Args:
        cfg: A number, or ``dict(type='constant' | 'linear' | 'cosine', start=..., end=...,
            warmup=0.0)``. The value increases linearly from 0 to ``start`` over the first fraction
            ``warmup`` of training, then changes to ``end`` along the curve.
        key: Config key, for messages.

    Returns:
        The schedule.

    Raises:
        ClassroomError: Unknown type or key, a missing or negative value, or a ``warmup`` outside
            [0, 1).

    Example:
        >>> halfway = build_schedule(dict(type='linear', start=1.0, end=0.0), 'weight')
        >>> halfway(0.5)
        0.5
    """
    cfg = dict(cfg) if isinstance(cfg, dict) else dict(type='constant', start=cfg)
    kind = cfg.pop('type', None)
    if not isinstance(kind, str) or kind not in _CURVES:
        raise ClassroomError(
            f'{key}.type is {kind!r}{did_you_mean(kind, _CURVES)}: choose one of {tuple(_CURVES)}.'
        )
    if 'start' not in cfg or (kind != 'constant' and 'end' not in cfg):
        raise ClassroomError(f'{key} is a {kind} schedule and needs `start` and `end`.')
    start = cfg.pop('start')
    end = cfg.pop('end', start)
    warmup = cfg.pop('warmup', 0.0)
    refuse_unknown(cfg, ['type', 'start', 'end', 'warmup'], key)
    if not all(isinstance(value, (int, float)) for value in (start, end, warmup)):
        raise ClassroomError(f'{key}: give a number, or a dict with a type and numbers.')
    if not (0 <= start < math.inf and 0 <= end < math.inf and 0 <= warmup < 1):
        raise ClassroomError(
            f'{key}: values must not be negative or infinite, and 0 <= warmup < 1.'
        )

    def schedule(progress: float) -> float:
        if progress < warmup:
            return start * progress / warmup
        return start + (end - start) * _CURVES[kind]((progress - warmup) / (1 - warmup))

    return schedule
