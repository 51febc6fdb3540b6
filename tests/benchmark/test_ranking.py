"""Ranks over plans, from figures that are given."""

import dataclasses

import pytest

from mmkd_classroom.benchmark.plan import Method, Metric, Plan
from mmkd_classroom.benchmark.ranking import ranking
from mmkd_classroom.benchmark.report import Results
from mmkd_classroom.errors import ClassroomError

PLAN = Plan(
    name='useful',
    classroom='classroom.py',
    methods=[Method('alone', alone=True), Method('AVER'), Method('taught')],
    seeds=[0, 1],
    metrics=[Metric('PCK')],
)


def results(name, **values):
    plan = dataclasses.replace(PLAN, name=name)
    runs = {
        method: {seed: dict(name=method, metrics=dict(PCK=v)) for seed, v in enumerate(row)}
        for method, row in values.items()
    }
    return Results(plan, runs, {})


USEFUL = results('useful', alone=[1, 1], AVER=[2, 5], taught=[3, 4])
WEAK = results('weak', alone=[2, 2], AVER=[1, 2], taught=[3, 3], keypoint=[9, 9])


def table(*plans):
    lines = ranking(plans).splitlines()
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[:5]]


def test_mean_ranks_over_seeds_and_plans():
    head, _, *rows = table(USEFUL, WEAK)
    assert head == ['method', 'mean rank', '95 % interval', 'useful', 'weak']
    # taught: ranks 1, 2 and 1, 1; AVER: 2, 1 and 3, 2.5; alone: 3, 3 and 2, 2.5.
    assert [[row[0], row[1], *row[3:]] for row in rows] == [
        ['taught', '1.25', '1.5', '1.0'],
        ['AVER', '2.12', '1.5', '2.8'],
        ['alone', '2.62', '3.0', '2.2'],
    ]


def test_of_an_error_less_is_better():
    plan = dataclasses.replace(PLAN, metrics=[Metric('PCK', rule='less')])
    _, _, *rows = table(*[Results(plan, each.runs, {}) for each in (USEFUL, WEAK)])
    # taught: ranks 3, 2 and 3, 3; AVER: 2, 3 and 1, 1.5; alone: 1, 1 and 2, 1.5.
    assert [row[:2] for row in rows] == [['alone', '1.38'], ['AVER', '1.88'], ['taught', '2.75']]


def test_the_interval_is_that_of_the_seeds():
    _, _, taught, *_ = table(USEFUL, WEAK)
    # Both seeds of 'useful' with rank 1, or both with rank 2: each has a probability of 1/4.
    assert taught[2] == '[1.00, 1.50]'
    _, _, *rows = table(WEAK, WEAK)
    assert rows[0][2] == '[1.00, 1.00]'


def test_seeds_that_are_not_complete_are_left_out():
    part = results('part', alone=[1, 1], AVER=[2], taught=[3, 0])
    assert table(part, USEFUL)[2][3] == '1.0'
    assert 'Complete seeds: 1 in part, 2 in useful.' in ranking([part, USEFUL])


def test_a_run_that_diverged_is_the_last():
    lost = results('lost', alone=[1, 1], AVER=[2, 2], taught=[float('nan')] * 2)
    assert {row[0]: row[3] for row in table(lost, WEAK)[2:]}['taught'] == '3.0'


def test_nothing_to_rank():
    with pytest.raises(ClassroomError, match='fewer than two methods in common'):
        ranking([USEFUL, results('other', alone=[1, 2])])
    with pytest.raises(ClassroomError, match='empty has no seed with a result of each method'):
        ranking([USEFUL, results('empty', alone=[], AVER=[1], taught=[2])])
