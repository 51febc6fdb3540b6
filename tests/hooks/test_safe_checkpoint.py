"""Checkpoints that were cut short, diverged or are gone: what is resumed, kept and said."""

import shutil
from pathlib import Path

import pytest
import torch
from fixtures import write_class_config, write_class_dataset
from mmengine.config import Config
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_classroom.checkpoints import register_safe_loader
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.files import register_atomic_backend, write_atomic
from mmkd_classroom.hooks import safe_checkpoint
from mmkd_classroom.last_good import fault_of, find_last_good

HOOKS = ['PlainCheckpointHook', 'SafeCheckpointHook', 'EpochSeedHook']


@pytest.fixture
def train(fresh_runners, tmp_path):
    """Train the small classifier, in the same work_dir each time."""
    path = write_class_config(tmp_path / 'class.py', write_class_dataset(tmp_path / 'data'))

    def run(epochs=3, hooks=(), validate=False, **options):
        fresh_runners()
        register_safe_loader()
        cfg = Config.fromfile(path)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.custom_hooks = [dict(type=f'mmkd_classroom.{name}') for name in HOOKS]
        if not validate:
            cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
        cfg.merge_from_dict({'train_cfg.max_epochs': epochs, **options})
        runner = Runner.from_cfg(cfg)
        for hook in hooks:
            runner.register_hook(hook, priority='NORMAL')
        runner.train()
        return runner

    return run


def log_of(runner):
    (log,) = Path(runner.log_dir).glob('*.log')
    return log.read_text()


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def cut(path, tenths):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenths // 10])


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_cut_at_any_tenth_is_known(train, tmp_path):
    train(epochs=1)
    good = tmp_path / 'work/epoch_1.pth'
    assert fault_of(good) is None
    part = tmp_path / 'part.pth'
    for tenths in range(1, 10):
        shutil.copy(good, part)
        cut(part, tenths)
        assert fault_of(part).text == 'cannot be read: it was cut short or is damaged', tenths
    cut(part, 0)
    assert fault_of(part).text == 'is empty'
    assert fault_of(tmp_path / 'none.pth').text == 'does not exist'
    content = bytearray(good.read_bytes())
    middle = content.find(b'\0' * 8, len(content) // 2)  # of the tensors' bytes
    content[middle + 4] ^= 1
    part.write_bytes(content)
    assert fault_of(part).text.startswith('is damaged (')


@pytest.mark.parametrize('accident', ['cut', 'empty', 'absent', 'no pointer', 'empty pointer'])
def test_resume_finds_the_last_good_one_and_ends_as_if_nothing_had_happened(
    accident, train, tmp_path
):
    train(epochs=3)
    work = tmp_path / 'work'
    whole = weights(work / 'epoch_3.pth')
    last = work / 'epoch_3.pth'
    if accident in ('cut', 'empty'):
        cut(last, 5 if accident == 'cut' else 0)
    elif accident == 'absent':
        last.unlink()
    elif accident == 'no pointer':
        (work / 'last_checkpoint').unlink()
    else:
        (work / 'last_checkpoint').write_text('')
    runner = train(epochs=3, resume=True)
    log = log_of(runner)
    if 'pointer' in accident:
        assert 'resumed epoch: 3' in log and 'Not resumed' not in log
    else:
        assert 'resumed epoch: 2' in log
        reason = dict(cut='cannot be read', empty='is empty', absent='does not exist')[accident]
        assert log.count(f'Not resumed: {last} {reason}') == 1
        assert f'Auto resumed from the last good checkpoint {work / "epoch_2.pth"}.' in log
    assert_equal(weights(last), whole)


def test_a_good_last_one_is_left_to_mmengine(train, tmp_path):
    train(epochs=1)
    log = log_of(train(epochs=2, resume=True))
    assert f'Auto resumed from the latest checkpoint {tmp_path / "work/epoch_1.pth"}.' in log
    assert 'last good' not in log and 'there is no checkpoint' not in log


def test_a_training_that_has_none_begins_with_a_warning(train, tmp_path):
    log = log_of(train(epochs=1, resume=True))
    assert f'WARNING - --resume: there is no checkpoint in {tmp_path / "work"}. The tr' in log


def test_if_none_is_good_nothing_begins_anew(train, tmp_path):
    train(epochs=2)
    for path in (tmp_path / 'work').glob('epoch_*.pth'):
        cut(path, 3)
    with pytest.raises(ClassroomError, match=r'no checkpoint in .* is good(?s:.)*Remove them'):
        train(epochs=2, resume=True)


@pytest.mark.parametrize('option', ['--resume', 'load_from'])
def test_a_damaged_one_that_is_named_is_not_replaced_in_silence(option, train, tmp_path):
    train(epochs=3)
    work = tmp_path / 'work'
    cut(work / 'epoch_3.pth', 9)
    options = dict(load_from=str(work / 'epoch_3.pth'), resume=option == '--resume')
    message = f"{option} = .*epoch_3.pth' cannot be read.*{work / 'epoch_2.pth'} is good"
    with pytest.raises(ClassroomError, match=message):
        train(epochs=4, **options)
    assert not (work / 'epoch_4.pth').exists()


class Diverge(Hook):
    """A weight becomes NaN, or infinite, in the second epoch."""

    def __init__(self, value):
        self.value = value

    def after_train_iter(self, runner, **kwargs):
        if runner.iter == 3:
            next(runner.model.parameters()).data[0] = self.value


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_a_diverged_student_is_never_the_best_nor_the_last_good(value, train, tmp_path):
    options = {
        'default_hooks.checkpoint.save_best': 'accuracy/top1',
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        # Any score is better: without the check, it would be the best.
        'default_hooks.checkpoint.rule': 'greater',
    }
    runner = train(epochs=3, hooks=[Diverge(value)], validate=True, **options)
    work, log = tmp_path / 'work', log_of(runner)
    assert log.count("The student's weights are not finite after iteration 4") == 1
    assert [path.name for path in work.glob('best_*')] == ['best_accuracy_top1_epoch_1.pth']
    names = sorted(path.name for path in work.glob('epoch_*.pth'))
    assert names == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']  # the good one is kept
    parameters = {name for name, _ in runner.model.named_parameters()}
    path, passed = find_last_good(work, parameters)
    assert path == work / 'epoch_1.pth' and len(passed) == 2
    log = log_of(train(epochs=2, resume=True))
    assert log.count('has weights that are not finite (backbone.conv1.weight)') == 2
    assert all(value.isfinite().all() for value in weights(work / 'epoch_2.pth').values())


def test_what_is_replaced_is_removed_only_after_the_new_one_is_there(train, tmp_path, monkeypatch):
    """The disk refuses the third checkpoint: the second one is still there."""
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    work = tmp_path / 'work'
    write = write_atomic

    def full(path, content):
        if Path(path).name == 'epoch_3.pth':
            raise ClassroomError('full')
        write(path, content)

    monkeypatch.setattr('mmkd_classroom.files.write_atomic', full)
    with pytest.raises(ClassroomError, match='full'):
        train(epochs=3, **options)
    assert [path.name for path in work.glob('epoch_*.pth')] == ['epoch_2.pth']
    monkeypatch.undo()
    train(epochs=3, resume=True, **options)
    assert [path.name for path in work.glob('epoch_*.pth')] == ['epoch_3.pth']


def test_files_are_whole_or_as_before(tmp_path, monkeypatch):
    register_atomic_backend()
    path = tmp_path / 'folder/file'
    files = get_file_backend(str(path))
    files.put(b'first', str(path))
    files.put_text('second', str(path))
    assert path.read_bytes() == b'second'

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('os.fsync', power_cut)
    with pytest.raises(KeyboardInterrupt):
        files.put(b'third', str(path))
    assert path.read_bytes() == b'second'
    monkeypatch.undo()
    files.put(b'third', str(path))
    assert [file.name for file in path.parent.iterdir()] == ['file']


def test_late_removal_spares_what_was_written_anew(tmp_path):
    files = safe_checkpoint._LateRemoval()
    for name in ('old', 'same'):
        files.put(b'1', tmp_path / name)
        files.remove(tmp_path / name)
    files.put(b'2', tmp_path / 'same')
    files.finish(keep=False)
    assert [path.name for path in tmp_path.iterdir()] == ['same']
