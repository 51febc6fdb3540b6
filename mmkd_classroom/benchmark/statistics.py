"""Figures over seeds: mean, spread, and the gain of paired runs with its interval."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


class Spread(NamedTuple):
    """A mean and the sample standard deviation, which is None of a single value."""

    mean: float
    deviation: float | None


class Gain(NamedTuple):
    """A mean of paired differences and half the width of its interval, None of a single pair."""

    mean: float
    margin: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value; not finite if one is not.

    Example:
        >>> spread([1.0, 2.0, 3.0])
        Spread(mean=2.0, deviation=1.0)
    """
    with np.errstate(invalid='ignore'):
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation)


def paired_gain(values: Mapping[int, float], base: Mapping[int, float]) -> Gain | None:
    r"""Mean difference over the seeds that both have, with a paired t interval.

    .. math::
        \bar d \pm t_{0.975,\,n-1}\, s_d / \sqrt n

    Runs of one seed share the order of the data and their augmentation, so their differences
    spread less than the runs. The interval takes the differences for normal; with three seeds
    :math:`t = 4.30`, so it is wide, and rightly so.

    Args:
        values: Figures by seed.
        base: Those to compare with.

    Returns:
        None where no seed is common.
    """
    seeds = sorted(values.keys() & base.keys())
    if not seeds:
        return None
    mean, deviation = spread([values[seed] - base[seed] for seed in seeds])
    if deviation is None:
        return Gain(mean, None)
    quantile = float(stdtrit(len(seeds) - 1, (1 + CONFIDENCE) / 2))
    return Gain(mean, quantile * deviation / len(seeds) ** 0.5)
