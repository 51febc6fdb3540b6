"""Two processes (gloo, ``find_unused_parameters=False``) against one on the joined batch."""

import copy
import json

import pytest
import torch
import two_processes
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from runs import assert_unchanged, config, snapshot
from toys import SETTINGS, classroom_of, gradient, total

CAMKD = dict(type='mmkd_classroom.CAMKD', mentor_stages='layer3', feature_weight=2.0)
AMTML = dict(
    type='mmkd_classroom.AMTML',
    hints=[dict(student='layer2', mentor=0, stage='layer3')],
    angle_weight=30.0,  # enough to be seen beside the rest
    distance_weight=30.0,
)
# Kind, and options of the strategy.
CASES = [
    ('classes', dict(granularity='sample')),
    ('classes', dict(granularity='sample', task_weight='score', temperature_mode='dtkd')),
    ('pose', dict(granularity='sample', task_weight='score')),
    ('pose', dict(granularity='keypoint')),
    ('classes', dict(type='mmkd_classroom.EBKD')),
    ('pose', dict(type='mmkd_classroom.RunningAdvantage')),
    ('pose', CAMKD),
    ('classes', AMTML),
    ('pose', AMTML),
]
SIZE = 8
TRAINING = """
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
optim_wrapper = dict(
    type='mmkd_classroom.Bf16OptimWrapper', optimizer=dict(type='Adam', lr=1e-3),
    clip_grad=dict(max_norm=1.0))
train_dataloader['batch_size'] = 2
train_cfg['val_interval'] = 5
"""


def build_case(kind, options):
    """A classroom, and a batch of 8, in float64; BatchNorm, which joins samples, is still."""
    torch.manual_seed(0)  # what a strategy learns starts at random
    inputs, samples = SETTINGS[kind]['batch'](SIZE)
    if kind == 'pose':
        samples = [sample.to(torch.float64) for sample in samples]
    classroom = classroom_of(kind, **options).double().eval()
    classroom.strategy.train()  # the running advantage averages
    return classroom, inputs.double(), samples


def work(rank, folder):
    """What each process does."""
    result = dict(gradients=[], losses=[], statistics=[], states=[], trained=[])
    for kind, options in CASES:
        classroom, inputs, samples = build_case(kind, options)
        wrapped = MMDistributedDataParallel(
            classroom, find_unused_parameters=False, broadcast_buffers=False
        )
        mine = slice(rank * SIZE // 2, (rank + 1) * SIZE // 2)
        losses = wrapped(inputs[mine], samples[mine], mode='loss')
        loss, _ = classroom.parse_losses(losses)
        loss.backward()
        result['gradients'].append(gradient(classroom))
        result['losses'].append(loss.detach())
        result['statistics'].append(classroom.statistics.read())
        result['states'].append(copy.deepcopy(classroom.strategy.state_dict()))
    for kind in SETTINGS:
        result['trained'].append(train(kind, folder, rank))
    return result


def train(kind, folder, rank):
    """20 steps through MMEngine's Runner; the weights of the student in the end."""
    cfg = config_of(kind, folder, rank)
    cfg.launcher = 'pytorch'
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', find_unused_parameters=False, broadcast_buffers=False,
        device_ids=None,
    )  # fmt: skip
    runner = Runner.from_cfg(cfg)
    classroom = runner.model.module
    before = snapshot(classroom.mentors)
    start = copy.deepcopy(classroom.state_dict())
    runner.train()
    assert runner.iter == 20 and runner.world_size == 2
    assert_unchanged(classroom.mentors, before)
    (average,) = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
    assert list(average.module.mentors) == list(classroom.mentors)
    trained = classroom.state_dict()
    assert not all(torch.equal(start[name], trained[name]) for name in start)
    if rank == 0:
        file = torch.load(cfg.work_dir + '/epoch_10.pth', weights_only=True)
        assert list(file['state_dict']) == list(start)
        with open(cfg.work_dir + '/mentoring.jsonl') as lines:  # one file, written by one process
            assert [json.loads(line)['iter'] for line in lines] == list(range(1, 21))
    return torch.nn.utils.parameters_to_vector(classroom.parameters()).detach()


def config_of(kind, folder, rank):
    """The same in both processes, but written into each one's own folder."""
    own = folder / f'{kind}_{rank}'
    own.mkdir()
    cfg = config(kind, own, extra=TRAINING)
    cfg.work_dir = str(folder / kind)
    cfg.experiment_name = kind
    return cfg


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """Both processes' results, computed once for all tests here."""
    return two_processes.run(work, tmp_path_factory.mktemp('processes'))


@pytest.mark.parametrize('index', range(len(CASES)))
def test_the_gradient_is_that_of_one_process_on_the_joined_batch(results, index):
    classroom, inputs, samples = build_case(*CASES[index])
    loss = total(classroom, inputs, samples)
    loss.backward()
    expected = gradient(classroom)
    for result in results:
        difference = (result['gradients'][index] - expected).abs().max()
        assert difference < 1e-6 < expected.abs().max() / 1000
        for name, value in classroom.strategy.state_dict().items():
            torch.testing.assert_close(result['states'][index][name], value)
    halves = [result['losses'][index].item() for result in results]
    assert sum(halves) / 2 == pytest.approx(loss.item(), rel=0, abs=1e-6)
    assert abs(halves[0] - halves[1]) > 1e-4  # the processes did not see the same


def test_the_statistics_are_the_mean_over_both(results):
    classroom, inputs, samples = build_case(*CASES[0])
    total(classroom, inputs, samples)
    whole = classroom.statistics.read()
    whole.pop('share')  # a ratio of losses, which differ from process to process
    for result in results:
        assert result['statistics'] == results[0]['statistics']
        for name, values in whole.items():
            assert result['statistics'][0][name] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize('index', range(len(SETTINGS)))
def test_mentors_are_bit_frozen_in_both_processes(results, index):
    """The checks are in :func:`train`; the students are one in the end."""
    assert torch.equal(*(result['trained'][index] for result in results))
