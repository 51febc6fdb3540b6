"""Figures over seeds, against values worked out by hand."""

import math

import pytest

from mmkd_classroom.benchmark.statistics import Gain, Spread, paired_gain, spread


def test_spread():
    assert spread([2.0, 4.0, 9.0]) == Spread(5.0, pytest.approx(13**0.5))
    assert spread([3.0]) == Spread(3.0, None)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_run_that_diverged_is_seen_in_the_mean(value):
    mean, deviation = spread([1.0, value, 2.0])
    assert not math.isfinite(mean) and math.isnan(deviation)
    assert not math.isfinite(paired_gain({0: value, 1: 2.0}, {0: 1.0, 1: 1.0}).mean)


def test_paired_gain():
    base = {0: 51.46, 1: 51.45, 2: 52.09}
    gain = paired_gain({0: 53.45, 1: 53.42, 2: 53.25}, base)
    # Differences 1.99, 1.97, 1.16: deviation 0.473533; t(0.975, 2) = 4.302653.
    assert gain.mean == pytest.approx(5.12 / 3)
    assert gain.margin == pytest.approx(4.302653 * 0.473533 / 3**0.5, rel=1e-5)


@pytest.mark.parametrize(('pairs', 'quantile'), [(2, 12.706205), (5, 2.776445), (10, 2.262157)])
def test_quantiles_of_students_t(pairs, quantile):
    values = {seed: float(seed) for seed in range(pairs)}
    deviation = spread(list(values.values())).deviation
    gain = paired_gain(values, dict.fromkeys(values, 0.0))
    assert gain.margin == pytest.approx(quantile * deviation / pairs**0.5, rel=1e-6)


def test_only_common_seeds_are_paired():
    assert paired_gain({0: 1.0, 1: 5.0, 2: 9.0}, {1: 2.0, 3: 7.0}) == Gain(3.0, None)
    assert paired_gain({0: 1.0}, {1: 2.0}) is None
