"""Schedules: their values at the start, the end and between, and what they refuse."""

import math

import pytest

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks.schedules import build_schedule


def values(cfg, at=(0.0, 0.25, 0.5, 0.75, 1.0)):
    schedule = build_schedule(cfg, 'MentoringHook.weight')
    return [schedule(progress) for progress in at]


@pytest.mark.parametrize(
    'cfg, expected',
    [
        (2.5, [2.5] * 5),
        (0, [0] * 5),
        (dict(type='constant', start=3.0), [3.0] * 5),
        (dict(type='linear', start=4.0, end=0.0), [4, 3, 2, 1, 0]),
        (dict(type='linear', start=0.0, end=1.0), [0, 0.25, 0.5, 0.75, 1]),
        (
            dict(type='cosine', start=1.0, end=0.0),
            [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0],
        ),
        (dict(type='constant', start=2.0, warmup=0.5), [0, 1, 2, 2, 2]),
        (dict(type='linear', start=2.0, end=0.0, warmup=0.5), [0, 1, 2, 1, 0]),
        (dict(type='cosine', start=2.0, end=0.0, warmup=0.5), [0, 1, 2, 1, 0]),
    ],
)
def test_values(cfg, expected):
    assert values(cfg) == pytest.approx(expected)


def test_the_config_is_left_alone():
    cfg = dict(type='linear', start=1.0, end=0.0)
    values(cfg)
    assert cfg == dict(type='linear', start=1.0, end=0.0)


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(type=['linear'], start=1.0, end=0.0), r"\.type is \['linear'\]"),
        (dict(type='linear', start=float('inf'), end=0.0), 'infinite'),
        (dict(type='step', start=1.0, end=0.0), r"\.type is 'step'"),
        (dict(type='cosin', start=1.0, end=0.0), r"\.type is 'cosin' \(did you mean 'cosine'\?\)"),
        (dict(start=1.0, end=0.0), r'\.type is None'),
        (dict(type='linear', start=1.0), 'needs `start` and `end`'),
        (dict(type='cosine', end=1.0), 'needs `start` and `end`'),
        (
            dict(type='linear', start=1.0, end=0.0, warm_up=0.1),
            r"no option 'warm_up' \(did you mean 'warmup'\?",
        ),
        (dict(type='linear', start=-1.0, end=0.0), 'must not be negative'),
        (-1.0, 'must not be negative'),
        (dict(type='constant', start=1.0, warmup=1.0), 'warmup < 1'),
        (dict(type='constant', start=1.0, warmup=-0.1), 'warmup < 1'),
        ('cosine', 'number'),
        (dict(type='linear', start='1', end=0), 'number'),
        (float('nan'), 'negative'),
        (dict(type='linear', start=1.0, end=float('nan')), 'negative'),
    ],
)
def test_what_is_refused(cfg, message):
    with pytest.raises(ClassroomError, match=rf'^MentoringHook\.weight.*{message}'):
        build_schedule(cfg, 'MentoringHook.weight')
