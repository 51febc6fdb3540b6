"""A tiny benchmark from plan to table: alone, killed and started again, and with a failing run."""

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from fixtures import write_class_config, write_class_dataset

from mmkd_classroom.benchmark.store import locked

pytestmark = pytest.mark.timeout(1800)  # a test starts the tool up to four times
TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark.py'
CLASSROOM = """
_base_ = ['student.py']
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(name='strong', config='{{fileDirname}}/strong.py',
             checkpoint='work_dirs/strong/epoch_3.pth'),
        dict(name='twin', config='{{fileDirname}}/student.py',
             checkpoint='work_dirs/twin/epoch_2.pth')],
    ranker=dict(type='mmkd_classroom.TrueClassRanker'),
    strategy=dict(type='mmkd_classroom.ClassroomKD'))
custom_hooks = [
    dict(type='mmkd_classroom.MentoringHook', interval=1),
    dict(type='mmkd_classroom.EpochSeedHook')]
"""
PLAN = """
classroom = '{{fileDirname}}/classroom.py'
seeds = [0, 1]
metrics = [dict(key='accuracy/top1', name='Top-1'), dict(key='NLL', scale=100)]
methods = [
    dict(name='alone', alone=True),
    dict(name='classroom'),
]
"""
FAILING = """
_base_ = ['plan.py']
work_dir = 'work_dirs/benchmarks/plan'
methods = [
    dict(name='alone', alone=True),
    dict(name='lost', options={'train_dataloader.dataset.data_root': 'no/such/folder'}),
    dict(name='classroom'),
]
"""
# Accuracy on eight pictures is too coarse to tell runs apart.
METRIC = """
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

@METRICS.register_module()
class NLL(BaseMetric):
    def process(self, data_batch, data_samples):
        for sample in data_samples:
            self.results.append(-sample['pred_score'][sample['gt_label']].log().item())

    def compute_metrics(self, results):
        return dict(NLL=sum(results) / len(results))
"""
EXTRA = """
custom_imports = dict(imports=['nll'])
val_evaluator = [dict(type='Accuracy', topk=(1,)), dict(type='NLL')]
test_evaluator = val_evaluator
"""


def write_plan(root):
    """A plan of two mentors and two methods, in a folder of its own."""
    root.mkdir(exist_ok=True)
    data = write_class_dataset(root / 'data')
    write_class_config(root / 'student.py', data, extra=EXTRA)
    write_class_config(root / 'strong.py', data, extra=EXTRA, epochs=3)
    texts = dict(classroom=CLASSROOM, plan=PLAN, failing=FAILING, nll=METRIC)
    for name, text in texts.items():
        (root / f'{name}.py').write_text(text)
    return root


def start(root, *args, plan='plan.py'):
    path = os.pathsep.join([str(root), os.environ.get('PYTHONPATH', '')])
    return subprocess.Popen(
        [sys.executable, str(TOOL), plan, '--at-once', '2', *args],
        cwd=root, env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(root, *args, **options):
    """Exit code and what was printed."""
    process = start(root, *args, **options)
    out, err = process.communicate()
    return process.returncode, out, err


def lines(root):
    path = root / 'work_dirs/benchmarks/plan/results.jsonl'
    return path.read_text().splitlines() if path.exists() else []


def results(root, name='plan'):
    """The report up to the costs, which are measured anew each time."""
    text = (root / f'work_dirs/benchmarks/plan/{name}.md').read_text()
    return text[: text.index('## Cost')]


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    root = write_plan(tmp_path_factory.mktemp('benchmark') / 'plan')
    code, out, err = run(root)
    assert code == 0, out + err
    return root, out, results(root)


@pytest.mark.slow
def test_every_run_has_its_line(undisturbed):
    root, out, _ = undisturbed
    records = [json.loads(line) for line in lines(root)]
    assert sorted((record['name'], record['seed']) for record in records) == sorted(
        [('strong', 100), ('twin', 100)]
        + [(name, seed) for name in ('alone', 'classroom') for seed in (0, 1)]
    )
    assert len({record['metrics']['NLL'] for record in records}) == 6  # no two are the same run
    for record in records:
        assert record['steps'] == (6 if record['name'] == 'strong' else 4)
        assert 0 < record['seconds'] and 50 < record['memory'] < 1e5
        assert record['at_once'] == 2 and record['threads'] == 1
    assert '6 of 6 runs, ' in out


@pytest.mark.slow
def test_mentors_are_where_the_classroom_seeks_them(undisturbed):
    root, *_ = undisturbed
    assert (root / 'work_dirs/strong/epoch_3.pth').is_file()
    assert (root / 'work_dirs/twin/epoch_2.pth').is_file()


@pytest.mark.slow
def test_tables_and_plot(undisturbed):
    root, out, _ = undisturbed
    found = {
        (record['name'], record['seed']): 100 * record['metrics']['NLL']
        for record in map(json.loads, lines(root))
    }
    text = (root / 'work_dirs/benchmarks/plan/plan.md').read_text()
    assert text in out
    mean = (found['classroom', 0] + found['classroom', 1]) / 2
    gain = mean - (found['alone', 0] + found['alone', 1]) / 2
    (row,) = [line for line in text.splitlines() if line.startswith('| classroom | 2 |')]
    assert f'| {mean:.2f} ± ' in row and f'| {gain:+.2f} [' in row
    assert f'| {found["twin", 100]:.2f} |' in text.split('## Mentors')[1]
    alone, *_ = [line for line in text.split('## Cost')[1].splitlines() if '| alone |' in line]
    assert alone.split('|')[3].strip() == '1.00'
    assert cv2.imread(str(root / 'work_dirs/benchmarks/plan/plan.png')).std() > 10


@pytest.mark.slow
def test_stopped_twice_and_started_again_it_ends_with_the_same_table(undisturbed, tmp_path):
    root = write_plan(tmp_path / 'plan')
    # Among the mentors' trainings, and among the students'.
    for enough, number in ((1, signal.SIGKILL), (3, signal.SIGTERM)):
        process = start(root)
        while len(lines(root)) < enough:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=280)
        assert enough <= len(lines(root)) < 6
    assert process.returncode == 1
    assert 'what is done is kept' in err and 'Traceback' not in err
    torn = root / 'work_dirs/benchmarks/plan/results.jsonl'
    torn.write_bytes(torn.read_bytes()[:-20])  # as if killed while it was written
    kept = lines(root)[:-1]

    code, out, err = run(root)
    assert code == 0, out + err
    assert results(root) == undisturbed[2]
    assert lines(root)[: len(kept)] == kept  # what was done is not done again


@pytest.mark.slow
def test_failed_run_is_kept_apart_and_stops_no_other(undisturbed):
    root, *_ = undisturbed
    before = lines(root)
    code, out, err = run(root, plan='failing.py')
    assert code == 1
    assert lines(root) == before  # the others were there from the other plan
    assert 'FAILED lost, seed 0' in err and 'no/such/folder' in err
    (log,) = (root / 'work_dirs/benchmarks/plan/failed').glob('lost-seed1-*/train.log')
    assert 'no/such/folder' in log.read_text() and str(log) in err
    assert '**Not there:** lost, seed 0; lost, seed 1.' in results(root, 'failing')
    assert '| classroom | 2 |' in results(root, 'failing')


@pytest.mark.slow
def test_mentor_that_cannot_be_tested_can_teach(undisturbed):
    root, *_ = undisturbed
    work_dir = 'work_dirs/benchmarks/untested'
    lost = 'mentor_options.test_dataloader.dataset.data_root=no/such/folder'
    code, out, err = run(root, '--work-dir', work_dir, '--cfg-options', lost, 'seeds=[0]')
    assert code == 0, out + err
    assert 'mentor strong could not be tested, see ' in out
    assert '2 of 2 runs, ' in out  # tests alone do not count
    assert '| classroom | 1 |' in out and '## Mentors' not in out
    assert len(list((root / work_dir / 'failed').glob('strong-*/test.log'))) == 1


@pytest.mark.slow
def test_changed_plan_does_not_take_old_results(undisturbed):
    root, *_ = undisturbed
    before = lines(root)
    change = 'options.optim_wrapper.optimizer.lr=0.5'
    code, out, _ = run(root, '--report', '--cfg-options', change, 'seeds=[0]')
    assert code == 1
    assert '**Not there:** alone, seed 0; classroom, seed 0.' in out
    assert lines(root) == before


@pytest.mark.slow
def test_methods_of_several_plans_are_ranked(undisturbed):
    root, *_ = undisturbed
    (root / 'again.py').write_text("_base_ = ['plan.py']\nwork_dir = 'work_dirs/benchmarks/plan'\n")
    code, out, err = run(root, 'again.py', '--report')
    assert code == 0, out + err
    ranked = out[out.index('| method | mean rank |') :]
    assert '| plan | again |' in ranked
    assert 'Complete seeds: 2 in plan, 2 in again.' in ranked


@pytest.mark.slow
def test_gains_are_relative_to_the_baseline_that_is_named(undisturbed):
    root, *_ = undisturbed
    code, out, _ = run(root, '--report', '--baseline', 'classroom')
    assert code == 0 and '| method | mean rank |' not in out
    assert 'differences from **classroom**' in out
    (alone,) = [line for line in out.splitlines() if line.startswith('| alone | 2 |')]
    assert re.search(r'\[.+, .+\]', alone)
    run(root, '--report')  # its file again


@pytest.mark.slow
def test_two_benchmarks_do_not_share_a_folder(undisturbed):
    root, *_ = undisturbed
    with locked(root / 'work_dirs/benchmarks/plan'):
        code, _, err = run(root)
        code_of_report, out, _ = run(root, '--report')
    assert code == 1
    assert 'Another benchmark is running in' in err and 'Traceback' not in err
    assert code_of_report == 0 and '| classroom | 2 |' in out  # that only reads


@pytest.mark.parametrize(
    ('gpus', 'at_once', 'visible', 'expected'),
    [
        (None, None, None, ['0', '1', '2', '3']),
        (None, None, '5,GPU-7', ['5', 'GPU-7']),
        (['1', '3'], None, None, ['1', '3']),
        (['1', '3'], 3, None, ['1', '3', '1']),
        (None, 1, None, ['0']),
    ],
)
def test_runs_are_distributed_over_gpus(tool, monkeypatch, gpus, at_once, visible, expected):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 4)
    if visible:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    slots = tool.slots(argparse.Namespace(gpus=gpus, at_once=at_once))
    assert slots == [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in expected]


@pytest.mark.parametrize(('at_once', 'runs', 'threads'), [(None, 2, '4'), (3, 3, '2'), (9, 9, '1')])
def test_cores_are_shared_out(tool, monkeypatch, at_once, runs, threads):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(tool, 'CORES', 8)
    assert tool.slots(argparse.Namespace(gpus=None, at_once=at_once)) == [{}] * runs
    assert os.environ['OMP_NUM_THREADS'] == threads


@pytest.fixture
def tool(monkeypatch):
    """The module of the command, in an environment that it may change."""
    monkeypatch.setattr(os, 'environ', os.environ.copy())
    for name in ('OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES'):
        os.environ.pop(name, None)
    return importlib.import_module('mmkd_classroom.benchmark.__main__')
