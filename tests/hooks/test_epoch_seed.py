import random
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmkd_classroom.hooks import EpochSeedHook, PlainCheckpointHook

LOADERS = {
    'no_worker': dict(num_workers=0),
    'workers': dict(num_workers=2, persistent_workers=False),
    'persistent_workers': dict(num_workers=2, persistent_workers=True),
}


class Draws(Dataset):
    """Each sample is drawn when it is loaded, from every generator that transforms use."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        draws = [random.random(), np.random.rand(), torch.rand(()).item()]
        return dict(inputs=torch.tensor(draws, dtype=torch.float64))


class Student(BaseModel):
    """Remembers what it saw and lost."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 8), nn.Dropout(), nn.Linear(8, 1)).double()
        self.seen, self.losses = [], []

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(inputs)
        if mode != 'loss':
            return [0] * len(inputs)
        loss = self.layer(inputs).square().mean()
        self.seen += inputs.tolist()
        self.losses.append(loss.item())
        return dict(loss=loss)


class Draw(BaseMetric):
    """Validation that draws numbers itself."""

    def process(self, data_batch, data_samples):
        self.results += [torch.rand(()).item(), random.random(), np.random.rand()]

    def compute_metrics(self, results):
        return dict(mean=float(np.mean(results)))


@pytest.fixture
def train(fresh_runners, tmp_path):
    """Train from the start, or from a checkpoint, and return the student and the runner."""
    number = iter(range(100))

    def run(load_from=None, seed=0, loader=None, hook=True, validate=True, by_epoch=True, **kwargs):
        fresh_runners()
        torch.manual_seed(0)
        student = Student()
        random.seed(), np.random.seed(), torch.seed()  # whatever the process did before
        loader = loader or LOADERS['no_worker']
        loader = dict(
            batch_size=2, dataset=Draws(), sampler=dict(type='DefaultSampler', shuffle=True),
            **loader
        )  # fmt: skip
        val = dict(val_dataloader=dict(loader), val_evaluator=[Draw()], val_cfg={})
        length = dict(max_epochs=3) if by_epoch else dict(max_iters=4)
        runner = Runner(
            model=student,
            work_dir=str(tmp_path / str(next(number))),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=by_epoch, **length),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            custom_hooks=[PlainCheckpointHook(), *([EpochSeedHook()] if hook else [])],
            load_from=load_from,
            resume=load_from is not None,
            randomness=dict(seed=seed),
            cfg=Config(dict(randomness=dict(seed=seed))),
            **(val if validate else {}),
            **kwargs,
        )
        return runner.train(), runner

    return run


@pytest.mark.parametrize('loader', LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize('epoch', [1, 2])
def test_a_resumed_run_repeats_the_whole_one(train, loader, epoch):
    whole, runner = train(loader=loader)
    resumed, _ = train(f'{runner.work_dir}/epoch_{epoch}.pth', loader=loader)
    assert resumed.seen == whole.seen[6 * epoch :]
    assert resumed.losses == whole.losses[3 * epoch :]
    for mine, other in zip(resumed.parameters(), whole.parameters()):
        assert torch.equal(mine, other)


def test_it_would_not_without_the_hook(train):
    whole, runner = train(hook=False)
    resumed, _ = train(f'{runner.work_dir}/epoch_1.pth', hook=False)
    assert resumed.seen != whole.seen[6:] and resumed.losses != whole.losses[3:]


@pytest.mark.parametrize('loader', LOADERS.values(), ids=LOADERS)
def test_no_draw_is_repeated(train, loader):
    student, _ = train(loader=loader)
    draws = np.ravel(student.seen)
    assert len(draws) == 3 * 6 * 3 == len(np.unique(draws))


def test_mmengine_repeats_them(train):
    """The reason for seeding workers at all; if this fails, the docstring needs a new one."""
    student, _ = train(loader=LOADERS['workers'], hook=False)
    assert sorted(student.seen[:6]) == sorted(student.seen[6:12])


def test_validation_changes_nothing(train):
    assert train(validate=True)[0].losses == train(validate=False)[0].losses


def test_seed_and_rank_matter(train, monkeypatch):
    first = train()[0].seen
    assert train()[0].seen == first
    assert train(seed=1)[0].seen != first
    monkeypatch.setattr(Runner, 'rank', 1)
    assert train()[0].seen != first


@pytest.mark.parametrize('options', [dict(seed=None), dict(by_epoch=False, validate=False)])
def test_others_do_not_pay(train, options):
    _, runner = train(loader=LOADERS['persistent_workers'], **options)
    loader = runner.train_dataloader
    assert '_init_worker' not in str(loader.worker_init_fn)
    assert loader._iterator is not None  # the workers of the first epoch


def remember(worker_id, path):
    (path / f'{worker_id}_{random.random()}').touch()


def test_the_users_own_worker_init_is_called_first(train, tmp_path):
    (tmp_path / 'called').mkdir()
    init = dict(worker_init_fn=dict(type=partial(remember, path=tmp_path / 'called')))
    whole, runner = train(loader={**LOADERS['persistent_workers'], **init}, validate=False)
    assert len(list((tmp_path / 'called').iterdir())) == 2 * 3
    assert np.unique(whole.seen).size == 54
