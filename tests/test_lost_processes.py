"""Two processes by dist_train.sh: one dies, hangs, or is told to end; the other ends, too."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runs
import torch

from mmkd_classroom.distributed import lost_peer

TOOLS = Path(__file__).resolve().parent.parent / 'tools'
ACCIDENTS = """
import os, signal, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Accident(Hook):
    def __init__(self, kind):
        self.kind = kind

    def after_train_iter(self, runner, **kwargs):
        if runner.iter == 2 and runner.rank == 1:
            if self.kind == 'dies':
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.kind == 'hangs':
                time.sleep(600)
        if self.kind == 'told' and runner.iter == 30 and runner.rank == 1:
            open('now', 'w').close()
        if self.kind == 'told':
            time.sleep(0.02)
"""
CONFIG = """
_base_ = ['classroom.py']
custom_imports = dict(imports=['accidents'])
env_cfg = dict(dist_cfg=dict(backend='gloo', timeout=30))
custom_hooks = [*_base_.custom_hooks, dict(type='Accident', kind={kind!r})]
default_hooks = dict(logger=dict(interval=100))
val_cfg = val_dataloader = val_evaluator = None
train_dataloader = dict(batch_size=2)
"""


@contextlib.contextmanager
def started(folder, kind, *flags, epochs=4):
    """A training by two processes, which the end of the block ends in any case."""
    runs.config('classes', folder, epochs=epochs)
    (folder / 'accidents.py').write_text(ACCIDENTS)
    (folder / 'killed.py').write_text(CONFIG.format(kind=kind))
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(folder), os.environ.get('PYTHONPATH', '')])
    environment = dict(
        os.environ, PYTHON=sys.executable, PYTHONPATH=path, PORT=str(port), OMP_NUM_THREADS='1'
    )
    command = ['bash', TOOLS / 'dist_train.sh', folder / 'killed.py', '2']
    process = subprocess.Popen(
        [*command, '--work-dir', folder / 'work', *flags],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()  # the shell passes it on
        process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('kind', ['dies', 'hangs'])
def test_the_other_process_ends_with_one_message(kind, tmp_path):
    with started(tmp_path, kind) as process:
        _, err = process.communicate(timeout=280)
    assert process.returncode not in (0, 143)
    last = err.strip().splitlines()[-1]
    assert last.endswith('go on with --resume.') or 'Another process of this training' in last
    if kind == 'hangs':  # the other one has waited for 30 seconds
        assert err.count('did not answer in time') == 1
        assert 'env_cfg.dist_cfg.timeout' in last
    # Two steps an epoch: the first was finished.
    assert (tmp_path / 'work/last_checkpoint').read_text().endswith('epoch_1.pth')


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_told_to_end_both_save_and_end_together(tmp_path):
    with started(tmp_path, 'told', '--save-on-sigterm', epochs=1000) as process:
        while not (tmp_path / 'now').exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # to the shell alone, which passes it on
        _, err = process.communicate(timeout=100)
    assert process.returncode == 143, err
    last = Path((tmp_path / 'work/last_checkpoint').read_text())
    saved = torch.load(last, weights_only=True)['meta']
    assert last.name == f'epoch_{saved["epoch"]}.pth' and saved['epoch'] >= 15
    (log,) = [path.read_text() for path in (tmp_path / 'work').glob('*/*.log')]
    assert f'Stopped by SIGTERM: {last.name} was saved before. Go on with --resume.' in log
    assert 'go on with --resume' not in err.splitlines()[-1]


@pytest.mark.parametrize(
    'error, lost',
    [
        (RuntimeError('[gloo/transport/tcp/pair.cc:547] Connection closed by peer'), True),
        (RuntimeError('Timed out waiting 5000ms for recv operation to complete'), True),
        (torch.distributed.DistBackendError('NCCL communicator was aborted'), True),
        (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), False),
    ],
)
def test_errors_of_lost_processes_are_known(error, lost):
    assert lost_peer(error) is lost
