"""Tables to the letter, from figures that are given."""

import dataclasses

import cv2
import pytest

from mmkd_classroom.benchmark.plan import Method, Metric, Plan
from mmkd_classroom.benchmark.report import Results, format_gain, plot, report, save_runs
from mmkd_classroom.errors import ClassroomError


def line(pck, ar, seconds=60.0, **others):
    circumstances = dict(at_once=2, threads=1, device='cpu', torch='2.11.0', code='a') | others
    metrics = {'PCK': pck, 'coco/AR': ar}
    return dict(name='x', metrics=metrics, seconds=seconds, memory=700.0, **circumstances)


PLAN = Plan(
    name='tiny',
    classroom='classroom.py',
    methods=[Method('alone', alone=True), Method('taught'), Method('lost')],
    seeds=[0, 1, 2],
    metrics=[Metric('PCK', scale=100), Metric('coco/AR', name='AR')],
)
RUNS = {
    'alone': {0: line(0.5146, 1), 1: line(0.5145, 2), 2: line(0.5209, 3)},
    'taught': {0: line(0.5345, 2), 1: line(0.5342, 2, 90), 2: line(0.5325, 2, 90)},
    'lost': {1: line(0.5, 4.5, 30)},
}
REPORT = """\
# tiny

| method | runs | PCK | gain | AR | gain |
|---|---|---|---|---|---|
| alone | 3 | 51.67 ± 0.37 |  | 2.00 ± 1.00 |  |
| taught | 3 | 53.37 ± 0.11 | +1.71 [+0.53, +2.88] | 2.00 ± 0.00 | +0.00 [-2.48, +2.48] |
| lost | 1 | 50.00 | -1.45 | 4.50 | +2.50 |

Mean ± sample standard deviation over the seeds 0, 1, 2; the last checkpoint counts. *Gain*: mean \
of the differences from **alone** with the same seed, and its 95 % paired t interval.

**Not there:** lost, seed 0; lost, seed 2.

## Mentors

| mentor | PCK | AR |
|---|---|---|
| strong | 59.44 | 7.00 |

## Cost

| method | training time | relative to alone | peak memory |
|---|---|---|---|
| alone | 1.0 min | 1.00 | 700 MiB |
| taught | 1.3 min | 1.33 | 700 MiB |
| lost | 0.5 min | 0.50 | 700 MiB |
"""


def test_report():
    results = Results(PLAN, RUNS, dict(strong=line(0.5944, 7)))
    text, note = report(results).split('\nTraining time is')
    assert text == REPORT
    assert 'Runs were made on cpu, torch 2.11.0; 2 at a time, 1 thread each.' in note
    assert 'compare times with care' in note
    assert results.missing == ['lost, seed 0', 'lost, seed 2']


def test_result_of_each_run(tmp_path):
    save_runs(Results(PLAN, RUNS, {}), tmp_path / 'tiny.csv')
    assert (tmp_path / 'tiny.csv').read_text().splitlines() == [
        'method,seed,PCK,AR',
        *('alone,0,51.46,1', 'alone,1,51.45,2', 'alone,2,52.09,3'),
        *('taught,0,53.45,2', 'taught,1,53.42,2', 'taught,2,53.25,2'),
        'lost,1,50,4.5',
    ]


def test_runs_by_themselves_need_no_care():
    alone = {0: {**line(0.5, 1), 'at_once': 1}}
    results = Results(PLAN, {'alone': alone, 'taught': alone, 'lost': alone}, {})
    assert 'with care' not in report(results)
    assert '## Mentors' not in report(results)


def test_change_of_the_code_is_told():
    runs = {'alone': {0: line(0.5, 1)}, 'taught': {0: line(0.5, 1, code='b')}, 'lost': {}}
    assert 'code has changed between these runs (2 versions)' in report(Results(PLAN, runs, {}))
    assert 'code has changed' not in report(Results(PLAN, RUNS, {}))


def test_metric_that_the_test_did_not_give():
    plan = dataclasses.replace(PLAN, metrics=[Metric('PCKh')])
    with pytest.raises(ClassroomError, match=r"'PCKh'.*gave \['PCK', 'coco/AR'\]"):
        report(Results(plan, RUNS, {}))


def test_a_mentor_may_report_other_metrics():
    other = {**line(0.5, 1), 'metrics': {'coco/AR': 7}}
    assert '| strong |  | 7.00 |' in report(Results(PLAN, RUNS, dict(strong=other)))


def test_a_run_that_diverged(tmp_path):
    runs = {**RUNS, 'lost': {0: line(float('nan'), 1), 1: line(0.5, 1)}}
    results = Results(PLAN, runs, {})
    assert '| lost | 2 | nan ± nan | +nan [+nan, +nan] |' in report(results)
    plot(results, tmp_path / 'plot.png')


def test_the_same_run_under_two_names():
    text = report(Results(PLAN, {**RUNS, 'taught': RUNS['alone']}, {}))
    assert '| taught | 3 | 51.67 ± 0.37 | +0.00 [+0.00, +0.00] |' in text


def test_gains_are_paired_by_seed():
    values = {0: 53.45, 1: 53.42, 2: 53.25, 3: 99.0}
    base = {2: 52.09, 1: 51.45, 0: 51.46, 7: 0.0}
    # Differences 1.99, 1.97, 1.16: deviation 0.473533; t(0.975, 2) = 4.302653.
    assert format_gain(values, base) == '+1.71 [+0.53, +2.88]'
    assert format_gain({0: 1.0, 1: 5.0}, {1: 2.0, 3: 7.0}) == '+3.00'
    assert format_gain({0: 1.0}, {1: 2.0}) == ''


def test_nothing_there_yet(tmp_path):
    results = Results(PLAN, {'alone': {}, 'taught': {}, 'lost': {}}, {})
    assert '| taught | 0 |  |  |  |  |' in report(results)
    plot(results, tmp_path / 'empty.png')
    assert (tmp_path / 'empty.png').exists()


def test_plot(tmp_path):
    plot(Results(PLAN, RUNS, {}), tmp_path / 'plot.png')
    assert cv2.imread(str(tmp_path / 'plot.png')).std() > 10
