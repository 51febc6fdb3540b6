"""Trainings that are killed at random moments and resumed end as one that was not."""

import json
import time

import pytest
import runs
import torch
from kills import Killer, start
from mmengine.config import Config

EPOCHS = 5


def write(folder, cache):
    """A classroom of two mentors, with EMA and best checkpoints; its config file."""
    runs.config('classes', folder, epochs=EPOCHS)
    student = folder / 'student.py'
    Config.fromfile(student).dump(student)  # without a base, which takes seconds to find
    path = folder / 'killed.py'
    text = (
        "_base_ = ['classroom.py']\n"
        "custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook')]\n"
        "default_hooks = dict(checkpoint=dict(save_best='accuracy/top1', max_keep_ckpts=3))\n"
    )
    if cache:
        text += "model = dict(cache=dict(dir='cache', views=2))\n"
    path.write_text(text)
    return path


def command(path, work_dir):
    return [path, '--work-dir', work_dir, '--resume', '--save-on-sigterm']


def state(path):
    """All tensors of a checkpoint by name."""
    content = torch.load(path, weights_only=True)
    found = dict(content['state_dict'])
    for index, entry in content['optimizer']['state'].items():
        found |= {f'{index}.{name}': value for name, value in entry.items()}
    return found


def assert_equal(path, expected):
    found = state(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found), path


def records(folder):
    """What MentoringHook wrote."""
    return [json.loads(line) for line in (folder / 'mentoring.jsonl').read_text().splitlines()]


def kill_trainings(folder, cache, seed, kills):
    """Kill until there are enough; check what is on the disk after each; print the counts."""
    path, log = write(folder, cache), folder / 'log'
    begin = time.monotonic()
    # All checkpoints are kept of the undisturbed one, to compare each file with its own.
    keep = ['--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=-1']
    whole = start('mmkd_classroom.train', [*command(path, 'whole'), *keep], folder, log)
    whole.join()
    assert whole.exitcode == 0, log.read_text()[-3000:]
    seconds = time.monotonic() - begin
    expected = {p.name: state(p) for p in (folder / 'whole').glob('epoch_*.pth')}
    assert len(expected) == EPOCHS
    killer, ended, most = Killer(seed), 0, 0
    while sum(killer.killed.values()) < kills:
        work = folder / f'part_{ended}'
        process = start('mmkd_classroom.train', command(path, work.name), folder, log)
        signal = killer.kill(process, work, 1.2 * seconds)
        done = {int(p.stem.split('_')[1]): p for p in work.glob('epoch_*.pth')}
        for checkpoint in done.values():  # whole, and of the right training, at any moment
            assert_equal(checkpoint, expected[checkpoint.name])
        assert max(done, default=0) >= most, 'a finished epoch was lost'
        most = max(done, default=0)
        if signal is None:
            process.join()
            assert process.exitcode == 0, log.read_text()[-3000:]
            check_end(work, folder / 'whole')
            ended, most = ended + 1, 0
    last = folder / f'part_{ended}'
    process = start('mmkd_classroom.train', command(path, last.name), folder, log)
    process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    check_end(last, folder / 'whole')
    line = f'{killer}, {ended + 1} trainings ended, {time.monotonic() - begin:.0f} s'
    print(f'seed {seed}, with a cache: {line}' if cache else f'seed {seed}: {line}')


def check_end(work, whole):
    """It has the end and the records of the undisturbed one, and a best checkpoint.

    MMEngine does not repeat a validation that was interrupted, so another epoch may be the best.
    """
    name = f'epoch_{EPOCHS}.pth'
    assert_equal(work / name, state(whole / name))
    assert records(work) == records(whole)
    best = list(work.glob('best_*.pth'))
    assert best
    for path in best:
        epoch = whole / path.name.removeprefix('best_accuracy_top1_')
        found, expected = (torch.load(p, weights_only=True)['state_dict'] for p in (path, epoch))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert len(list(work.glob('epoch_*.pth'))) <= 3 + 1  # one that was replaced may be left


def test_a_few_kills(tmp_path):
    kill_trainings(tmp_path, False, seed=0, kills=6)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('seed', range(1, 8))
def test_many_kills(seed, tmp_path):
    kill_trainings(tmp_path, False, seed, kills=20)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('seed', range(8, 10))
def test_many_kills_of_trainings_that_fill_a_cache(seed, tmp_path):
    kill_trainings(tmp_path, True, seed, kills=20)
