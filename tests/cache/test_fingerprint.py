"""Digests: equal for what draws equal images, in every process; else another."""

import functools
import random
import re
import subprocess
import sys
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch

from mmkd_classroom.cache import fingerprint


def scale(by, offset=0):
    return lambda x: x * by + offset


class Slots:
    __slots__ = ('size',)

    def __init__(self, size):
        self.size = size


class OrderedCounter(OrderedDict, Counter):
    """A dict whose copies are made from its items."""


class Plain:
    def __init__(self, **values):
        vars(self).update(values)

    def method(self):
        return self


DIFFERENT = dict(
    number=(1, 2),
    number_and_word=(1, '1'),
    true_and_one=(True, 1),
    order=([1, 2], [2, 1]),
    nesting=([[1], 2], [1, [2]]),
    array=(np.zeros(3), np.zeros((3, 1))),
    kind_of_array=(np.zeros(3), np.zeros(3, np.float32)),
    tensor=(torch.zeros(3), torch.ones(3)),
    attribute=(Plain(a=1), Plain(a=2)),
    inside=(Plain(a=Plain(b=1)), Plain(a=Plain(b=2))),
    slots=(Slots(1), Slots(2)),
    partial=(functools.partial(scale, by=1), functools.partial(scale, by=2)),
    partial_of_another=(functools.partial(scale), functools.partial(fingerprint)),
    closure=(scale(1), scale(2)),
    code=(lambda x: x + 1, lambda x: x - 1),
    constant=(lambda x: x + 1, lambda x: x + 2),
    default=(lambda x=1: x, lambda x=2: x),
    keyword_default=(lambda *, x=1: x, lambda *, x=2: x),
    function_inside=(lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    queue=(deque([1, 2]), deque([1, 3])),
    counts=(OrderedCounter(a=1), OrderedCounter(a=2)),
    objects=(np.array([{1: 2}, None]), np.array([{1: 3}, None])),
    method=(Plain(a=1).method, Plain(a=2).method),
    pattern=(re.compile('a'), re.compile('b')),
    kind=(Plain, Slots),
)


@pytest.mark.parametrize('name', DIFFERENT)
def test_what_differs_has_another(name):
    first, second = DIFFERENT[name]
    assert fingerprint(first) == fingerprint(first)
    assert fingerprint(first) != fingerprint(second)
    assert fingerprint(dict(a=[first])) != fingerprint(dict(a=[second]))


@pytest.mark.parametrize('make', [random.Random, np.random.default_rng, torch.Generator])
def test_where_a_generator_stands_does_not_count(make):
    generator = make()
    before = fingerprint(Plain(generator=generator))
    draw = getattr(generator, 'random', None) or (lambda: torch.rand(1, generator=generator))
    draw()
    assert fingerprint(Plain(generator=generator)) == before


def test_what_contains_itself_ends():
    thing = Plain(a=1)
    thing.me = [thing]
    other = Plain(a=2)
    other.me = [other]
    assert fingerprint(thing) != fingerprint(other)


CODE = """
import functools
import numpy as np
from mmkd_classroom.cache import fingerprint
thing = dict(a={'x', 'y', 'z'}, b=functools.partial(print, 1), c=lambda x: x + 1, d=object())
thing['e'] = np.array([{'x'}, None])
digest = fingerprint(thing)
print(digest)
"""


def test_it_is_the_same_in_every_process():
    here = dict(__name__='__main__')
    exec(CODE, here)
    there = subprocess.check_output([sys.executable, '-c', CODE], text=True).strip()
    assert len(there) == 64 and there == here['digest']
