"""SIGTERM in training: what is saved, and that it continues exactly."""

import os
import signal
from pathlib import Path

import pytest
import torch
from fixtures import write_class_config, write_class_dataset
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_classroom.checkpoints import register_safe_loader
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import SigtermHook
from mmkd_classroom.hooks.sigterm import protect_workers


class Terminate(Hook):
    """Sends SIGTERM to this process, and to its loading workers, as SLURM does."""

    def __init__(self, iteration, in_validation=False):
        self.iteration, self.in_validation = iteration, in_validation

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.iter == self.iteration and not self.in_validation:
            self._send(runner.train_dataloader)

    def after_val_iter(self, runner, batch_idx, **kwargs):
        if runner.iter == self.iteration and self.in_validation and batch_idx == 0:
            self._send(runner.val_dataloader)

    def _send(self, loader):
        workers = getattr(loader._iterator, '_workers', [])
        for process in [*(worker.pid for worker in workers), os.getpid()]:
            os.kill(process, signal.SIGTERM)


@pytest.fixture
def train(fresh_runners, tmp_path):
    """Train the small classifier for four epochs of two steps, or for eight iterations."""
    path = write_class_config(tmp_path / 'class.py', write_class_dataset(tmp_path / 'data'))

    def run(name, hooks=(), by_epoch=True, interval=1, workers=0, protect=True, **options):
        fresh_runners()
        register_safe_loader()
        cfg = Config.fromfile(path)
        cfg.work_dir, cfg.experiment_name = str(tmp_path / name), name
        names = ['PlainCheckpointHook', 'SafeCheckpointHook', 'EpochSeedHook']
        cfg.custom_hooks = [dict(type=f'mmkd_classroom.{n}') for n in names]
        cfg.custom_hooks.append(dict(type='mmkd_classroom.SigtermHook'))
        cfg.default_hooks.checkpoint.update(interval=interval, by_epoch=by_epoch)
        cfg.train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=2)
        if not by_epoch:
            cfg.train_cfg = dict(by_epoch=False, max_iters=8, val_interval=100)
            cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
            # No random numbers in training, of which MMEngine does not save the state.
            cfg.model.head.dropout_rate = 0.0
            cfg.train_dataloader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline
            cfg.param_scheduler = cfg.param_scheduler[:1]
        cfg.train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
        cfg.merge_from_dict(options)
        runner = Runner.from_cfg(cfg)
        if protect:
            protect_workers(runner)
        for hook in hooks:
            runner.register_hook(hook, priority='NORMAL')
        runner.train()
        return tmp_path / name

    return run


def weights(folder, name):
    return torch.load(folder / name, weights_only=True)['state_dict']


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def files(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


# Iterations 5 and 6 are the middle and the end of the third epoch; a validation follows the second.
CASES = dict(
    middle_saved=(dict(interval=1), Terminate(4), ['epoch_1.pth', 'epoch_2.pth']),
    middle_held=(dict(interval=10), Terminate(4), ['epoch_2.pth']),
    workers=(dict(interval=10, workers=2), Terminate(4), ['epoch_2.pth']),
    end=(dict(interval=10), Terminate(5), ['epoch_2.pth']),
    validation=(dict(interval=10), Terminate(4, in_validation=True), ['epoch_2.pth']),
    iterations=(dict(interval=100, by_epoch=False), Terminate(4), ['iter_5.pth']),
    iterations_workers=(
        dict(interval=100, by_epoch=False, workers=2),
        Terminate(4),
        ['iter_5.pth'],
    ),
)


@pytest.mark.parametrize('case', CASES)
def test_it_ends_with_143_and_goes_on_exactly(case, train, tmp_path):
    options, terminate, expected = CASES[case]
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            train('part', [terminate], **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    part = tmp_path / 'part'
    assert ended.value.code == 143
    assert files(part) == expected
    assert (part / 'last_checkpoint').read_text() == str(part / expected[-1])
    (log,) = [path.read_text() for path in part.glob('*/*.log')]
    saved = 'was saved before' if case == 'middle_saved' else 'is saved'
    assert f'{expected[-1]} {saved}. Go on with --resume.' in log

    train('part', resume=True, **options)
    whole = train('whole', **options)
    last = 'epoch_4.pth' if options.get('by_epoch', True) else 'iter_8.pth'
    assert_equal(weights(part, last), weights(whole, last))


def test_before_the_first_epoch_ends_nothing_is_saved(train, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        train('part', [Terminate(0)])
    signal.signal(signal.SIGTERM, before)
    assert files(tmp_path / 'part') == []
    (log,) = [path.read_text() for path in (tmp_path / 'part').glob('*/*.log')]
    assert 'there is nothing new to save' in log


def test_workers_that_run_before_the_hook_are_told(train):
    with pytest.raises(ClassroomError, match='loading workers run already'):
        train('part', by_epoch=False, workers=1, protect=False)


def test_after_training_the_signal_is_what_it_was(train):
    before = signal.getsignal(signal.SIGTERM)
    train('whole', interval=10)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize('options', [dict(interval=0), dict(interval=1.5), dict(period=3)])
def test_impossible_options_are_named(options):
    with pytest.raises(ClassroomError, match='SigtermHook'):
        SigtermHook(**options)


def test_workers_end_with_their_parent_s_word(tmp_path):
    """They outlive SIGTERM from others, but not from the training."""
    context = torch.multiprocessing.get_context('fork')
    from mmkd_classroom.hooks.sigterm import _ignore_others

    def work():
        _ignore_others(0, None)
        Path(tmp_path / 'ready').touch()
        signal.pause()

    worker = context.Process(target=work)
    worker.start()
    while not (tmp_path / 'ready').exists():
        worker.join(0.01)
    os.waitpid(os.posix_spawn('/bin/kill', ['kill', '-TERM', str(worker.pid)], os.environ), 0)
    worker.join(0.3)
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
