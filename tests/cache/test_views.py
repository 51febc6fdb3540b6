"""Views: a function of seed, sample and view, that leaves no trace."""

import multiprocessing
import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd_classroom.cache import Views


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


@given(st.integers(1, 6), st.integers(0, 99), st.integers(0, 9))
def test_each_cycle_shows_all_views_once(count, sample, seed):
    views = Views(count, seed)
    for cycle in range(3):
        shown = []
        for epoch in range(count * cycle, count * (cycle + 1)):
            views.epoch = epoch
            shown.append(views.view(sample))
        assert sorted(shown) == list(range(count))


def test_samples_have_orders_of_their_own():
    views = Views(8, 0)
    orders = set()
    for sample in range(20):
        order = []
        for epoch in range(8):
            views.epoch = epoch
            order.append(views.view(sample))
        orders.add(tuple(order))
    assert len(orders) > 15


def test_a_view_is_drawn_again_and_no_other_is_like_it():
    views = Views(4, 3)
    table = {}
    for sample in range(3):
        for view in range(4):
            for _ in range(2):
                with views.drawing(sample, view):
                    numbers = drawn()
                assert table.setdefault((sample, view), numbers) == numbers
                drawn()
    assert len(set(table.values())) == len(table)
    with Views(4, 4).drawing(0, 0):
        assert drawn() != table[0, 0]


def test_the_generators_go_on_as_if_nothing_was_drawn():
    views = Views(2, 0)

    def numbers(with_view):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        first = drawn()
        if with_view:
            with views.drawing(5, 1):
                drawn()
        return first, drawn()

    assert numbers(True) == numbers(False)


def _show(views, ready, turn, queue):
    ready.set()
    turn.wait()
    queue.put(views.epoch)


def test_a_worker_sees_the_epoch_change():
    context = multiprocessing.get_context('fork')
    views, queue = Views(3, 0), context.Queue()
    ready, turn = context.Event(), context.Event()
    worker = context.Process(target=_show, args=(views, ready, turn, queue))
    worker.start()
    assert ready.wait(60)
    views.epoch = 7
    turn.set()
    assert queue.get(timeout=60) == 7
    worker.join(60)


def test_without_the_exchange_of_generators_before_numpy_1_24(monkeypatch):
    views = Views(2, 0)
    with views.drawing(5, 1):
        expected = drawn()
    monkeypatch.delattr(np.random, 'set_bit_generator')
    np.random.seed(1)
    first = np.random.rand()
    np.random.seed(1)
    with views.drawing(5, 1):
        assert drawn() == expected
    assert np.random.rand() == first
