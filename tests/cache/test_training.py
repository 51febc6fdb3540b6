"""Training from a cache equals training with mentors that run, to the last bit."""

import pytest
import runs
import torch
from mmengine.runner import Runner

from mmkd_classroom.cache import MentorCache
from mmkd_classroom.mentors import Mentor

EXACT = dict(dense=True, precision='fp32')
kinds = pytest.mark.parametrize('kind', ['classes', 'pose'])


def train(kind, folder, cache, epochs=3, workers=0, before=None, resume=False, **changes):
    cfg = runs.config(kind, folder, epochs=epochs)
    cfg.model.cache = cache
    for key, value in changes.items():
        cfg[key] = value
    cfg.train_dataloader.num_workers = workers
    cfg.train_dataloader.persistent_workers = workers > 0
    cfg.resume = resume
    runner = Runner.from_cfg(cfg)
    if before:
        before(runner)
    runner.train()
    return runner


def weights(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.state_dict().values()])


def forbid(monkeypatch):
    def fail(*_):
        pytest.fail('a mentor ran')

    monkeypatch.setattr(Mentor, '_run', fail)


def online(monkeypatch):
    """Mentors run in each step, as without a cache, on the same pictures."""
    monkeypatch.setattr(
        MentorCache,
        'predict',
        lambda self, mentors, inputs, _: [m.predict(inputs) for m in mentors],
    )


@kinds
@pytest.mark.parametrize('workers', [0, 2])
def test_from_the_cache_it_is_the_same_training(
    kind, workers, tmp_path, fresh_runners, monkeypatch
):
    cache = dict(EXACT, dir=str(tmp_path / 'cache'), views=3)
    with monkeypatch.context() as patch:
        online(patch)
        expected = weights(train(kind, tmp_path / 'online', cache, workers=workers))
    filled = weights(train(kind, tmp_path / 'filled', cache, workers=workers))
    assert torch.equal(filled, expected)
    answered = []
    run = Mentor._run
    monkeypatch.setattr(Mentor, '_run', lambda self, x: answered.append(len(x)) or run(self, x))
    cached = train(kind, tmp_path / 'cached', cache, workers=workers)
    assert torch.equal(weights(cached), expected)
    assert answered == [1] * len(cached.model.mentors)  # for the shapes alone
    assert cached.model.cache.filled() == 1
