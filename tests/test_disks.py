"""Disks that are full or read-only, and folders that vanish: one message, and nothing is lost."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import runs
import torch
from mmengine.hooks import Hook

from mmkd_classroom.benchmark.store import ResultStore
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.files import disk_errors_explained, write_atomic
from mmkd_classroom.hooks.records import RecordFile
from mmkd_classroom.registry import HOOKS


@HOOKS.register_module()
class Fill(Hook):
    """Fills the disk, or removes the folder, after an iteration."""

    def __init__(self, iteration, remove=False):
        self.iteration, self.remove = iteration, remove

    def after_train_iter(self, runner, **kwargs):
        if runner.iter != self.iteration:
            return
        if self.remove:
            shutil.rmtree(runner.work_dir)
        else:
            fill(Path(runner.work_dir).parent, leave=0)


def fill(folder, leave):
    """Leave so many bytes of a disk."""
    free = shutil.disk_usage(folder).free
    (folder / 'filler').write_bytes(bytes(max(0, free - leave)))


def mounted(folder, options):
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
    if sys.platform != 'linux' or subprocess.run(command, capture_output=True).returncode:
        pytest.skip('no right to mount a file system')
    return folder


@pytest.fixture
def disk(tmp_path):
    folder = mounted(tmp_path / 'disk', 'size=16m')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


@pytest.fixture
def config(tmp_path):
    """Write the config of a classroom, with another hook."""

    def write(**fill):
        runs.config('classes', tmp_path, epochs=4)
        path = tmp_path / 'filled.py'
        path.write_text(
            "_base_ = ['classroom.py']\n"
            'custom_hooks = [*_base_.custom_hooks,\n'
            f"    dict(type='mmkd_classroom.Fill', **{fill})]\n"
            'default_hooks = dict(logger=dict(interval=100))\n'
            'val_cfg = val_dataloader = val_evaluator = None\n'
        )
        return path

    return write


def test_a_disk_that_is_full_in_training(disk, config, run_tool, tmp_path):
    """After the second epoch: its checkpoint stays, and --resume goes on when there is space."""
    path, work = config(iteration=4), disk / 'work'
    with pytest.raises(SystemExit) as ended:
        run_tool('train', path, '--work-dir', work)
    message = str(ended.value.code)
    assert 'could not be written: No space left on device' in message and '--resume' in message
    assert 'Traceback' not in message and message.count('\n') == 1
    assert sorted(p.name for p in work.glob('epoch_*')) == ['epoch_1.pth', 'epoch_2.pth']
    kept = torch.load(work / 'epoch_2.pth', weights_only=True)
    assert kept['meta']['epoch'] == 2
    (disk / 'filler').unlink()
    run_tool(
        'train',
        path,
        '--work-dir',
        work,
        '--resume',
        '--cfg-options',
        'custom_hooks.1.iteration=-1',
    )
    run_tool(
        'train',
        path,
        '--work-dir',
        tmp_path / 'whole',
        '--cfg-options',
        'custom_hooks.1.iteration=-1',
    )
    found, expected = (
        torch.load(folder / 'epoch_4.pth', weights_only=True)['state_dict']
        for folder in (work, tmp_path / 'whole')
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_work_dir_that_is_removed_in_training(config, run_tool, tmp_path):
    path = config(iteration=4, remove=True)
    with pytest.raises(SystemExit) as ended:
        run_tool('train', path, '--work-dir', tmp_path / 'work')
    message = str(ended.value.code)
    assert f'{tmp_path / "work"} could not be written: it was removed meanwhile' in message
    assert 'Traceback' not in message


def test_a_read_only_work_dir(config, run_tool, tmp_path):
    path = config(iteration=-1)
    disk = mounted(tmp_path / 'disk', 'size=1m,ro')
    try:
        with pytest.raises(SystemExit, match=r'Read-only file system\..*another --work-dir'):
            run_tool('train', path, '--work-dir', disk / 'work')
    finally:
        subprocess.run(['umount', '--lazy', str(disk)], check=True)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(disk):
    write_atomic(disk / 'epoch_1.pth', b'1' * 1000)
    fill(disk, leave=8192)
    with pytest.raises(ClassroomError, match=r'epoch_1\.pth could not be written: No space left'):
        write_atomic(disk / 'epoch_1.pth', b'2' * 100_000)
    assert (disk / 'epoch_1.pth').read_bytes() == b'1' * 1000
    assert sorted(path.name for path in disk.iterdir()) == ['epoch_1.pth', 'filler']


def test_ledgers_on_a_full_disk_keep_what_they_have(disk):
    store, records = ResultStore(disk), RecordFile(disk)
    long = 'x' * 3000
    store.add(dict(run_id='a', text=long))
    record = dict(iter=1, mentors={long: dict(share=0.5)})
    records.append(record)
    fill(disk, leave=0)
    for write in (
        lambda: [store.add(dict(run_id=f'b{i}', text=long)) for i in range(3)],
        lambda: [records.append(dict(record, iter=2)) for _ in range(3)],
    ):
        with pytest.raises(ClassroomError, match='could not be written: No space left on device'):
            write()
    (disk / 'filler').unlink()
    store = ResultStore(disk)
    assert store.find('a')['text'] == long
    store.add(dict(run_id='c'))
    assert {'a', 'c'} <= set(ResultStore(disk)._results)
    assert records.read()[0] == record


def test_errors_of_data_go_through_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors_explained(tmp_path / 'work'):
        open(tmp_path / 'data/1.png')
