"""Killed at random moments, and a disk that is full: what is there in the end is right."""

import multiprocessing
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import runs
from mmengine.runner import Runner

from mmkd_classroom.cache.store import Store
from mmkd_classroom.errors import ClassroomError

VIEWS, KILLS = 3, 20


def write(kind, folder):
    runs.config(kind, folder, epochs=VIEWS)
    return folder / 'classroom.py'


def train(path, cache, name, **options):
    """Fill a cache by training, in a process of its own."""
    cfg = runs.Config.fromfile(path)
    cfg.model.cache = dict(options, dir=str(cache), views=VIEWS)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.default_hooks.checkpoint = None
    cfg.train_dataloader.batch_size = 2
    cfg.work_dir, cfg.experiment_name = str(path.parent / name), name
    Runner.from_cfg(cfg).train()


def records(cache):
    """The bytes of all files, by mentor and view."""
    files = sorted(cache.glob('*/*'))
    return {(file.parent.name, file.name): file.read_bytes() for file in files}


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('kind', ['classes', 'pose', 'simcc'])
def test_trainings_that_were_killed_leave_the_records_of_an_undisturbed_one(kind, tmp_path):
    """Two fill one cache, and both are killed."""
    path = write(kind, tmp_path)
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmpose.models', 'mmpretrain.models', 'mmkd_classroom'])

    def start(cache, name):
        process = context.Process(target=train, args=(path, cache, name))
        process.start()
        return process

    undisturbed = start(tmp_path / 'undisturbed', 'whole')
    undisturbed.join()
    assert undisturbed.exitcode == 0
    generator, part = np.random.default_rng(0), tmp_path / 'killed'
    grew, killed = set(), 0
    while killed < KILLS:
        pair = [start(part, f'part_{index}') for index in range(2)]
        # Wait until the work begins, then for a part of the time that it takes.
        size = count(part)
        while count(part) == size and any(process.is_alive() for process in pair):
            pair[0].join(0.005)
        pair[0].join(generator.uniform(0, 0.1))
        for process in pair:
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
        grew.add(count(part))
        if count(part) == count(tmp_path / 'undisturbed'):  # full: begin with another half of it
            damage(part, generator)
    assert len(grew) > 1
    last = start(part, 'last')
    last.join()
    assert last.exitcode == 0
    found, expected = records(part), records(tmp_path / 'undisturbed')
    assert {name: found[name] for name in expected} == expected
    # Beside them at most drafts of files.
    drafts = [file for _, file in found.keys() - expected.keys()]
    assert all(re.fullmatch(r'view_\d\.\d+|tmp\w+', file) for file in drafts)


def count(cache):
    return sum(np.count_nonzero(headers(file)[:, 1]) for file in cache.glob('*/view_?'))


def headers(file):
    return np.memmap(file, '<u4', 'r+', shape=(8, 2))


def damage(cache, generator):
    """Half of the records are lost."""
    for file in cache.glob('*/view_?'):
        headers(file)[generator.permutation(8)[:4]] = 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', str(folder)]
    if sys.platform != 'linux' or subprocess.run(command, capture_output=True).returncode:
        pytest.skip('no right to mount a file system')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def test_a_disk_that_fills_up_is_told_and_loses_nothing(small_disk):
    payload = np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8)
    first = Store(small_disk / 'first', 10, 10_000)
    first.write(0, 1, payload)
    second = Store(small_disk / 'second', 20, 10_000)
    with pytest.raises(ClassroomError, match=r'No space left.*another model\.cache\.dir'):
        second.write(0, 1, payload)
    assert [path.name for path in small_disk.iterdir()] == ['first']
    first.write(1, 2, payload[::-1].copy())  # its space was reserved
    assert np.array_equal(first.read(0, 1), payload)


def test_a_disk_that_is_too_small_is_told_before_training(small_disk, tmp_path, fresh_runners):
    path = write('pose', tmp_path)
    with pytest.raises(ClassroomError, match=r'model\.cache needs 0\.00 GiB more in .*disk'):
        train(path, small_disk, 'refused', cells='all')
    assert not list(tmp_path.rglob('epoch_*.pth'))
