"""Two processes train from one cache, with the weights that training with mentors gives."""

import copy

import pytest
import runs
import torch
import two_processes
from mmengine.runner import Runner

from mmkd_classroom.cache import MentorCache
from mmkd_classroom.mentors import Mentor

KINDS = ('classes', 'pose', 'simcc')
ONLINE = 'online'


def work(rank, folder):
    """What each process does."""
    ran, run = [], Mentor._run
    Mentor._run = lambda self, x: ran.append(len(x)) or run(self, x)
    from_cache = MentorCache.predict
    results = {}
    for kind in KINDS:
        for name in (ONLINE, 'filled', 'cached'):
            ran.clear()
            if name == ONLINE:
                MentorCache.predict = lambda _, mentors, x, __: [m.predict(x) for m in mentors]
            weights = train(kind, folder, name, rank)
            MentorCache.predict = from_cache
            results[kind, name] = weights, sum(ran)
    return results


def train(kind, folder, name, rank):
    """Two epochs; all weights in the end."""
    own = folder / f'{kind}_{rank}'
    if not own.exists():
        own.mkdir()
        runs.config(kind, own, epochs=2)
    cfg = runs.Config.fromfile(own / 'classroom.py')
    # The same in both processes: paths of data are part of what a cache is for.
    data = folder / f'{kind}_0'
    cfg.merge_from_dict({'train_dataloader.dataset.data_root': str(data / 'data')})
    options = dict(views=2, cells='all', precision='fp32')
    cfg.model.cache = dict(
        options, dir=str(folder / ('none' if name == ONLINE else 'cache') / kind)
    )
    cfg.train_dataloader.batch_size = 2
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.work_dir, cfg.experiment_name = str(folder / kind / name), f'{kind}_{name}'
    cfg.launcher = 'pytorch'
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', find_unused_parameters=False, broadcast_buffers=False,
        device_ids=None,
    )  # fmt: skip
    torch.distributed.barrier()
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    runner.train()
    return torch.cat([value.flatten() for value in runner.model.module.state_dict().values()])


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """Both processes' results, computed once for all tests here."""
    return two_processes.run(work, tmp_path_factory.mktemp('processes'))


@pytest.mark.parametrize('kind', KINDS)
def test_both_have_the_weights_of_training_with_mentors(results, kind):
    for result in results:
        expected, _ = result[kind, ONLINE]
        assert torch.equal(result[kind, 'filled'][0], expected)
        assert torch.equal(result[kind, 'cached'][0], expected)


@pytest.mark.parametrize('kind', KINDS)
def test_each_mentor_runs_once_on_each_view(results, kind):
    samples, views, mentors = 8, 2, 2
    filled = sum(result[kind, 'filled'][1] for result in results)
    once = samples * views * mentors
    # Beside the views each process may run each mentor on one sample for the shapes.
    assert once <= filled <= once + 2 * mentors
    assert [result[kind, 'cached'][1] for result in results] == [0, 0]
