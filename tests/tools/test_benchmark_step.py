"""The benchmark of a training step: it runs from a config alone, and its arithmetic is right."""

import importlib
import re
from pathlib import Path

import pytest
from fixtures import write_class_config, write_pose_config

CLASSROOM = """
_base_ = [{base!r}]
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(name='first', config={base!r}, checkpoint='missing.pth'),
        dict(name='second', config={base!r}, checkpoint='zoo'),
    ],
    task=dict(type='mmkd_classroom.{task}'),
    ranker=dict(type='mmkd_classroom.{ranker}'),
    strategy=dict(type='mmkd_classroom.ClassroomKD'),
)
"""


@pytest.mark.parametrize(
    ('write_base', 'task', 'ranker'),
    [
        (write_pose_config, 'HeatmapTask', 'OKSRanker'),
        (write_class_config, 'ClassificationTask', 'TrueClassRanker'),
    ],
)
def test_ratio_of_a_config_without_data_or_weights(
    run_tool, tmp_path, capsys, write_base, task, ranker
):
    base = write_base(tmp_path / 'base.py', tmp_path / 'no_such_data')
    config = tmp_path / 'classroom.py'
    config.write_text(CLASSROOM.format(base=str(base), task=task, ranker=ranker))

    run_tool('benchmark_step', config, '--rounds', 3, '--warm-up', 1, '--device', 'cpu')

    printed = capsys.readouterr().out
    times = dict(re.findall(r"^([a-z' ]+?) +(\d+\.\d) +\d+\.\d$", printed, flags=re.M))
    assert list(times) == [
        "the student's own step",
        'mentor first',
        'mentor second',
        'sum of these',
        "the classroom's step",
    ]
    assert all(float(value) > 0 for value in times.values())
    assert 'batch of 4' in printed
    ratio, low, high = map(
        float, re.search(r'ratio (\S+) \(.* quartiles (\S+) to (\S+)\)', printed).groups()
    )
    assert 0 < low <= ratio <= high


def test_every_method_of_a_plan_but_the_student_alone(run_tool, tmp_path, capsys):
    base = write_class_config(tmp_path / 'base.py', tmp_path / 'no_such_data')
    config = tmp_path / 'classroom.py'
    config.write_text(
        CLASSROOM.format(base=str(base), task='ClassificationTask', ranker='TrueClassRanker')
    )
    plan = tmp_path / 'plan.py'
    plan.write_text(
        f"""
classroom = {str(config)!r}
seeds = [0, 1]
metrics = [dict(key='accuracy/top1')]
methods = [
    dict(name='alone', alone=True),
    dict(name='KD', mentors=['second'], strategy=dict(type='mmkd_classroom.AVER')),
    dict(name='room'),
]
"""
    )
    run_tool('benchmark_step', plan, '--rounds', 2, '--warm-up', 1, '--device', 'cpu')

    printed = capsys.readouterr().out
    assert re.findall(r'^(\w+): batch of 4', printed, flags=re.M) == ['KD', 'room']
    ratios = re.findall(r"^ratio (\S+) .* (\S+) times the student's own", printed, flags=re.M)
    assert len(ratios) == 2
    assert all(float(alone) > float(ratio) > 0 for ratio, alone in ratios)


def test_stock_config_is_refused(run_tool, tmp_path):
    base = write_pose_config(tmp_path / 'base.py', tmp_path / 'no_such_data')
    with pytest.raises(SystemExit, match='no model.mentors'):
        run_tool('benchmark_step', base)


def test_parts_take_turns_and_the_ratio_is_the_median_over_rounds(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / 'tools'))
    tool = importlib.import_module('benchmark_step')
    clock, calls, waits = [0.0], [], []
    monkeypatch.setattr(tool.time, 'perf_counter', lambda: clock[0])

    def part(name, seconds):
        def run():
            calls.append(name)
            # The machine is twice as slow in the second round, whatever runs.
            clock[0] += seconds * (2 if len(calls) > 6 else 1)

        return run

    parts = {tool.WHOLE: part('whole', 6.6), tool.STUDENT: part('student', 2.0)}
    parts['mentor a'] = part('mentor', 4.0)
    times = tool.measure(parts, rounds=2, steps=2, wait=lambda: waits.append(len(calls)))

    one_way = ['whole'] * 2 + ['student'] * 2 + ['mentor'] * 2
    assert calls == one_way + one_way[::-1]
    assert times[tool.WHOLE] == pytest.approx([6.6, 13.2])
    assert times['mentor a'] == pytest.approx([4.0, 8.0])
    # The device is waited for before and after each measurement, not within.
    assert waits == [0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12]
    assert "3.30 times the student's own step" in tool.report_ratios(times)
    assert 'ratio 1.100 (median of 2 rounds; quartiles 1.100 to 1.100)' in tool.report_ratios(times)
