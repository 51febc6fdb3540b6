"""A benchmark that is killed at random moments ends with the results of one that was not."""

import json
import time

import pytest
from fixtures import write_class_config, write_class_dataset
from kills import Killer, start
from mmengine.config import Config

CLASSROOM = """
_base_ = ['student.py']
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[dict(name='mentor', config='{{fileDirname}}/student.py', checkpoint='mentor.pth')],
    ranker=dict(type='mmkd_classroom.TrueClassRanker'))
"""
PLAN = """
classroom = 'classroom.py'
seeds = [0, 1]
metrics = [dict(key='accuracy/top1', name='Top-1')]
methods = [dict(name='alone', alone=True), dict(name='classroom')]
"""
WORK = 'work_dirs/benchmarks/plan'


def write(folder):
    folder.mkdir()
    student = write_class_config(
        folder / 'student.py', write_class_dataset(folder / 'data'), epochs=1
    )
    Config.fromfile(student).dump(student)  # without a base, which takes seconds to find
    (folder / 'classroom.py').write_text(CLASSROOM)
    (folder / 'plan.py').write_text(PLAN)
    return folder


def results(folder):
    """Metrics by run, of all complete lines; and the lines."""
    path = folder / WORK / 'results.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # killed while it was written
            continue
        found[record['name'], record['seed']] = record['metrics']
    return found, lines


def benchmark(folder):
    return start(
        'mmkd_classroom.benchmark.__main__', ['plan.py', '--at-once', '1'], folder, folder / 'log'
    )


def kill_benchmarks(tmp_path, seed, kills):
    begin = time.monotonic()
    whole = write(tmp_path / 'whole')
    process = benchmark(whole)
    process.join()
    assert process.exitcode == 0, (whole / 'log').read_text()[-3000:]
    seconds = time.monotonic() - begin
    expected, _ = results(whole)
    assert len(expected) == 5  # the mentor, and two methods with two seeds
    killer, ended = Killer(seed, 'results.jsonl'), 0
    done, kept = {}, []
    while sum(killer.killed.values()) < kills:
        folder = tmp_path / f'part_{ended}'
        process = benchmark(folder if folder.exists() else write(folder))
        signal = killer.kill(process, folder / WORK, 0.6 * seconds)
        before, lines = (done, kept)
        done, kept = results(folder)
        assert kept[: len(lines)] == lines, 'a line was lost or done again'
        assert before.items() <= done.items() and done.items() <= expected.items()
        if signal is None:
            assert process.exitcode == 0, (folder / 'log').read_text()[-3000:]
            assert done == expected
            ended, done, kept = ended + 1, {}, []
    process = benchmark(folder if signal is not None else write(tmp_path / 'last'))
    process.join()
    assert process.exitcode == 0
    print(f'benchmark, seed {seed}: {killer}, {ended + 1} ended, {time.monotonic() - begin:.0f} s')


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_many_kills(tmp_path):
    kill_benchmarks(tmp_path, seed=10, kills=20)
