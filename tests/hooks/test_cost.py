"""The cost of a training, also of one that was resumed."""

import json
import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures import write_class_config, write_class_dataset
from mmengine.hooks import LoggerHook
from mmengine.runner import get_priority

from mmkd_classroom.hooks import cost

HOOKS = "custom_hooks = [dict(type='mmkd_classroom.CostHook')]"


def test_steps_time_and_memory_over_all_parts(run_tool, tmp_path):
    config = write_class_config(
        tmp_path / 'student.py', write_class_dataset(tmp_path / 'data'), extra=HOOKS, epochs=3
    )
    work = tmp_path / 'work'
    first = ['train', config, '--work-dir', work, '--cfg-options', 'train_cfg.max_epochs=2']
    run_tool(*first)
    part = json.loads((work / 'cost.json').read_text())
    scalars = next(work.glob('*/vis_data/scalars.json'))
    logged = [json.loads(line) for line in scalars.read_text().splitlines()]
    mean = [line['time'] for line in logged if 'loss' in line][-1]  # over its window of 10 steps
    assert part['steps'] == 4
    assert part['seconds'] == pytest.approx(4 * mean)

    run_tool('train', config, '--work-dir', work, '--resume')
    whole = json.loads((work / 'cost.json').read_text())
    assert whole['steps'] == 6
    assert whole['seconds'] > part['seconds'] > 0
    if torch.cuda.is_available():
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert whole['device'] == 'cpu'
    assert 100 < whole['memory'] <= peak


def test_the_peak_is_kept_over_resets(tmp_path, monkeypatch):
    """MMEngine's log resets the peak of the GPU."""
    peaks = iter([10, 30, 5, 4])
    hub = SimpleNamespace(get_scalar=lambda _: SimpleNamespace(data=(np.ones(3), None)))
    runner = SimpleNamespace(message_hub=hub, work_dir=tmp_path)
    monkeypatch.setattr(cost, 'peak_memory', lambda: next(peaks))
    hook = cost.CostHook()
    for _ in range(3):
        hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    assert json.loads((tmp_path / 'cost.json').read_text())['memory'] == 30


def test_it_reads_the_peak_before_the_log_resets_it():
    assert get_priority(cost.CostHook.priority) < get_priority(LoggerHook.priority)
