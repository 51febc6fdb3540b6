"""The cost of a training, also of one that was resumed."""

import json
import resource

import pytest
import torch
from fixtures import write_class_config, write_class_dataset

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
