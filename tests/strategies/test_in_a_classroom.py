"""Every strategy through the distiller, on stock models."""

import copy

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from toys import SETTINGS, build, classroom_of, gradient, total

from mmkd_classroom.distiller import student_of
from mmkd_classroom.errors import ClassroomError

# With features that differ in channels and size, and without what joins samples (relations).
STRATEGIES = dict(
    aver=dict(type='mmkd_classroom.AVER'),
    ebkd=dict(type='mmkd_classroom.EBKD'),
    camkd=dict(
        type='mmkd_classroom.CAMKD',
        feature_weight=2.0,
        student_stage='layer2',
        mentor_stages=['layer3', 'layer1'],
    ),
    amtml=dict(
        type='mmkd_classroom.AMTML',
        angle_weight=0.0,
        distance_weight=0.0,
        hints=[
            dict(student='layer2', mentor=0, stage='layer3'),
            dict(student='layer3', mentor=1, stage='layer2'),
        ],
    ),
)
# The weights of the last are of the whole batch.
ALL = dict(STRATEGIES, advantage=dict(type='mmkd_classroom.RunningAdvantage'))
LEARNED = dict(
    aver=[],
    ebkd=[],
    advantage=[],
    camkd=[f'transforms.{m}.{name}' for m in (0, 1) for name in ('weight', 'bias')],
    amtml=['shared', 'latents', 'hints.0.weight', 'hints.1.weight'],
)
kinds = pytest.mark.parametrize('kind', SETTINGS)
strategies = pytest.mark.parametrize('name', STRATEGIES)
all_strategies = pytest.mark.parametrize('name', ALL)


def batch_in_double(kind, size):
    """Inputs and samples for exact comparisons."""
    inputs, samples = SETTINGS[kind]['batch'](size)
    if kind != 'classes':
        samples = [sample.to(torch.float64) for sample in samples]
    return inputs.double(), samples


@kinds
@all_strategies
def test_what_it_learns_is_trained_and_no_part_of_the_student_s_state(kind, name):
    classroom = classroom_of(kind, **ALL[name])
    stock = build(SETTINGS[kind]['model']())
    assert list(classroom.state_dict()) == list(stock.state_dict())
    trained = [key for key, _ in classroom.named_parameters()]
    ours = [key for key, _ in stock.named_parameters()]
    assert trained == ours + [f'strategy.{k}' for k in LEARNED[name]]
    total(classroom, *SETTINGS[kind]['batch']()).backward()
    for key, parameter in classroom.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, key
    mentors = [p for mentor in classroom.mentors for p in mentor.model.parameters()]
    assert all(parameter.grad is None for parameter in mentors)
    learned = copy.deepcopy(classroom.strategy.state_dict())
    classroom.load_state_dict(stock.state_dict(), strict=True)
    for key, value in classroom.strategy.state_dict().items():
        assert torch.equal(learned[key], value)
    with pytest.raises(RuntimeError, match='Unexpected key'):
        classroom.load_state_dict({**stock.state_dict(), 'strategy.x': torch.zeros(1)})


@kinds
@all_strategies
@pytest.mark.parametrize('update_buffers', [False, True])
def test_an_averaged_classroom_is_an_averaged_student(kind, name, update_buffers):
    classroom = classroom_of(kind, **ALL[name])
    options = dict(momentum=0.5, update_buffers=update_buffers)
    average = ExponentialMovingAverage(classroom, **options)
    stock = ExponentialMovingAverage(copy.deepcopy(student_of(classroom)), **options)
    assert list(average.state_dict()) == list(stock.state_dict())
    for step in range(3):
        classroom.load_state_dict(build(SETTINGS[kind]['model'](), seed=step).state_dict())
        with torch.no_grad():
            for parameter in classroom.strategy.parameters():
                parameter.add_(1)
        average.update_parameters(classroom)
        stock.update_parameters(student_of(classroom))
    for key, value in stock.state_dict().items():
        assert torch.equal(average.state_dict()[key], value)
    average.load_state_dict(stock.state_dict(), strict=True)


@kinds
@strategies
def test_a_batch_is_the_mean_of_its_samples(kind, name):
    classroom = classroom_of(kind, **STRATEGIES[name]).double().eval()
    inputs, samples = batch_in_double(kind, 4)
    whole = total(classroom, inputs, samples)
    whole.backward()
    expected = gradient(classroom)
    classroom.zero_grad()
    alone = [total(classroom, inputs[[i]], samples[i : i + 1]) / 4 for i in range(4)]
    sum(alone).backward()
    assert whole.item() == pytest.approx(sum(alone).item(), rel=1e-9)
    assert (gradient(classroom) - expected).abs().max() < 1e-6 < expected.abs().max()


@kinds
@strategies
def test_a_broken_mentor_is_left_out_where_it_is_broken(kind, name):
    """Of its samples nothing reaches weights, targets and features; the rest stays as it was."""
    classroom = classroom_of(kind, **STRATEGIES[name]).eval()
    size = dict(unlabelled=0) if kind != 'classes' else {}
    inputs, samples = SETTINGS[kind]['batch'](4, **size)
    alone = [total(classroom, inputs[[i]], samples[i : i + 1]).item() for i in range(4)]
    broken = slice(None)

    def poison(module, args, output):
        output = output.clone()
        output[broken] = float('nan')
        return output

    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        getattr(classroom.mentors[1].model.backbone, stage).register_forward_hook(poison)
    without = total(classroom, inputs[[1]], samples[1:2]).item()
    broken = 1
    classroom.statistics.read()
    loss = total(classroom, inputs, samples)
    loss.backward()
    assert gradient(classroom).isfinite().all()
    assert loss.item() == pytest.approx((alone[0] + without + alone[2] + alone[3]) / 4, rel=1e-4)
    assert abs(alone[1] - without) > 1e-4
    assert classroom.statistics.read()['invalid'] == [0, 1]


@kinds
@all_strategies
def test_mixed_precision_is_close_to_full(kind, name):
    options = dict(ALL[name])
    if name == 'amtml':
        options.update(angle_weight=1.0, distance_weight=1.0)
    classroom = classroom_of(kind, **options).eval()
    inputs, samples = SETTINGS[kind]['batch']()
    full = total(classroom, inputs, samples).item()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = total(classroom, inputs, samples)
    loss.backward()
    assert gradient(classroom).isfinite().all()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(full, rel=0.1)


@strategies
def test_building_it_draws_no_random_numbers(name):
    """So that a student trains alike whatever learns beside it."""
    states = []
    for options in ({}, STRATEGIES[name]):
        torch.manual_seed(3)
        classroom_of('classes', **options)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize('kind, temperature', [('classes', 4.0), ('pose', 1.0)])
@pytest.mark.parametrize('name', ALL)
def test_the_default_temperature_follows_from_the_head(name, kind, temperature):
    expected = 5.0 if (name, kind) == ('amtml', 'classes') else temperature
    assert classroom_of(kind, **ALL[name]).strategy.temperature == expected
    assert classroom_of(kind, **ALL[name], temperature=2.5).strategy.temperature == 2.5


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(student_stage='layer7'), r"model\.student\.backbone has no stage 'layer7'.*layer4"),
        (dict(mentor_stages=['layer1', 'x']), r"model\.mentors\[1\]\.backbone has no stage 'x'"),
        (dict(mentor_stages=['layer1']), r'names 1 stages for 2 mentors'),
    ],
)
def test_a_wrong_stage_is_an_error_at_build(options, message):
    with pytest.raises(ClassroomError, match=message):
        classroom_of('classes', type='mmkd_classroom.CAMKD', **options)
