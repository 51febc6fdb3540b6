"""The record of steps; over processes it is tested in ``test_distributed.py``."""

import copy
import time

import pytest
import torch
from toys import SETTINGS, classroom_of

from mmkd_classroom.statistics import Statistics, Stopwatch


def test_means_over_the_steps_since_the_last_reading():
    statistics = Statistics()
    assert statistics.read() is None
    statistics.add(dict(score=torch.tensor([1.0, 2.0]), student_score=torch.tensor(0.5)))
    statistics.add(dict(score=torch.tensor([3.0, 4.0]), student_score=torch.tensor(1.0)))
    assert statistics.steps == 2
    assert statistics.read() == dict(score=[2.0, 3.0], student_score=0.75)
    assert statistics.steps == 0 and statistics.read() is None
    statistics.add(dict(score=torch.tensor([7.0])))
    assert statistics.read() == dict(score=[7.0])


def test_many_small_steps_add_up_exactly():
    statistics = Statistics()
    for _ in range(1000):
        statistics.add(dict(share=torch.tensor([0.1]), invalid=torch.tensor([1])))
    means = statistics.read()
    assert abs(means['share'][0] - 0.1) < 1e-8  # float32 would be off by 1e-5
    assert means['invalid'] == [1.0]


def test_no_graph_is_kept():
    statistics = Statistics()
    value = torch.ones(2, requires_grad=True)
    statistics.add(dict(score=value * 2))
    assert not any(tensor.requires_grad for tensor in statistics._sums.values())


def test_a_lesson_s_names_are_the_same_for_both_kinds():
    read = []
    for kind in SETTINGS:
        classroom = classroom_of(kind)
        classroom(*SETTINGS[kind]['batch'](), mode='loss')
        read.append(set(classroom.statistics.read()))
    assert read[0] == read[1]


def test_a_stopwatch_gives_the_mean_and_starts_again():
    watch = Stopwatch()
    assert watch.read() is None
    for pause in (0.01, 0.03):
        with watch.running(torch.device('cpu')):
            time.sleep(pause)
    assert 0.02 <= watch.read() < 2
    assert watch.read() is None


def test_a_copy_of_a_running_stopwatch_is_a_new_one():
    watch = Stopwatch()
    with watch.running(torch.device('cpu')):
        pass
    assert copy.deepcopy(watch).read() is None
    assert watch.read() is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_events_of_a_gpu_measure_its_work():
    watch = Stopwatch()
    matrix = torch.rand(2048, 2048, device='cuda')
    with watch.running(matrix.device):
        for _ in range(50):
            matrix = matrix @ matrix / 2048
    copy.deepcopy(watch)
    assert 0 < watch.read() < 10
