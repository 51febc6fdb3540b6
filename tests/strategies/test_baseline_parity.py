"""The other strategies against the values of their released code, loss and gradient."""

import pytest
import torch
import torch.nn.functional as F
from goldens import CASES, golden
from members import Room, prediction

from mmkd_classroom.divergences import KLDivergence
from mmkd_classroom.rankers import TrueClassRanker
from mmkd_classroom.strategies import AMTML, AVER, CAMKD, EBKD, Members
from mmkd_classroom.structures import ClassTargets

cases = pytest.mark.parametrize('case', CASES)


def output_of(strategy, values, losses=None, features=None):
    """What a strategy makes of a batch; and the student's logits, which want a gradient."""
    logits = values['student_logits'].clone().requires_grad_()
    targets = ClassTargets(values['labels'], torch.ones(len(logits), 1, dtype=torch.float64))
    room = room_of([logits, *values['mentor_logits']], targets)
    for member, maps in enumerate(features or []):
        room.change(member, features=maps)
    return room.output(strategy, {} if losses is None else losses(logits)), logits


def room_of(logits, targets):
    members = [prediction(None, values) for values in logits]
    return Room(members, targets, TrueClassRanker(), KLDivergence())


def assert_golden(loss, logits, values, name):
    loss.backward()
    expected = values[f'{name}_grad']
    assert loss.item() == pytest.approx(values[f'{name}_loss'].item(), rel=0, abs=1e-9)
    torch.testing.assert_close(logits.grad[: len(expected)], expected, rtol=0, atol=1e-9)
    assert expected.abs().max() > 1e-4  # far from what is tolerated


@cases
@pytest.mark.parametrize(
    'strategy, name',
    [
        (AVER(temperature=4), 'average_T4'),
        (EBKD(temperature=4), 'ebkd_T4'),
        (CAMKD(temperature=4, feature_weight=0), 'camkd_T4'),
    ],
    ids=['average', 'ebkd', 'camkd'],
)
def test_weighted_divergences(case, strategy, name):
    values = golden(case)
    output, logits = output_of(strategy, values)
    assert set(output.losses) == {'loss_mentors'}
    assert_golden(output.losses['loss_mentors'], logits, values, name)
    if f'{name[:-3]}_weights' in values:
        mean = values[f'{name[:-3]}_weights'].mean(dim=1) / len(values['mentor_logits'])
        torch.testing.assert_close(output.statistics['weight'], mean, rtol=0, atol=1e-9)


def test_the_temperature_is_not_rounded():
    """The targets' weights are float32, and 2.3 is no number of float32."""
    values = golden('a')
    logits, mentors, labels = values['student_logits'], values['mentor_logits'], values['labels']
    room = room_of([logits, *mentors], ClassTargets(labels, torch.ones(8, 1)))
    output = room.output(AVER(temperature=2.3))
    expected = sum(
        2.3**2
        * F.kl_div((logits / 2.3).log_softmax(1), (z / 2.3).softmax(1), reduction='batchmean')
        for z in mentors
    )
    loss = output.losses['loss_mentors'].item()
    assert loss == pytest.approx(expected.item() / len(mentors), rel=1e-13)


@cases
def test_camkd_features(case):
    """The golden's student has one (transformed) map per mentor: they lie one after another in the
    channels here, and each transform picks its own."""
    values = golden(case)
    students, mentors = values['camkd_feat_student'], values['camkd_feat_mentor']
    count, channels = len(mentors), mentors.shape[2]
    strategy = CAMKD(temperature=4, feature_weight=1.0)
    assert strategy.stages(['x'] * count) == (['output'], [['output']] * count)
    channels_of = dict(output=count * channels), [dict(output=channels)] * count
    strategy.build(Members(None, ['x'] * count, *channels_of))
    strategy.double()
    for index, transform in enumerate(strategy.transforms):
        picked = torch.eye(count * channels)[index * channels : (index + 1) * channels]
        transform.weight.data = picked[:, :, None, None].double()
        transform.bias.data.zero_()
    joined = torch.cat(list(students), dim=1).requires_grad_()
    features = [dict(output=joined), *(dict(output=feature) for feature in mentors)]
    output, _ = output_of(strategy, values, features=features)
    loss = output.losses['loss_features']
    assert loss.item() == pytest.approx(values['camkd_feat_loss'].item(), rel=0, abs=1e-9)
    loss.backward()
    weights = values['camkd_weights'][..., None, None, None]
    expected = 2 * weights * (students - mentors) / students[0].numel() / count
    torch.testing.assert_close(joined.grad, torch.cat(list(expected), dim=1), rtol=0, atol=1e-9)


@cases
def test_amtml(case):
    values = golden(case)
    mentors, channels = values['amtml_theta'].shape
    strategy = AMTML(temperature=5, balance=0.7, kl_reduction='mean', decay=0.1)
    strategy.build(Members(None, ['x'] * mentors, dict(output=channels), [{}] * mentors))
    strategy.double()
    strategy.latents.data.copy_(values['amtml_theta'])
    strategy.shared.data.copy_(values['amtml_W'][:, 0])

    def cross_entropy(logits):
        return dict(loss=F.cross_entropy(logits, values['labels']))

    features = [dict(output=values['amtml_feature'])]
    output, logits = output_of(strategy, values, cross_entropy, features)
    for name in ('angle', 'distance'):
        expected = values[f'amtml_{name}_loss'].item()
        assert output.losses[f'loss_{name}'].item() == pytest.approx(expected, rel=0, abs=1e-9)
    size = sum(values[f'amtml_{name}'].square().sum() for name in ('theta', 'W'))
    assert output.losses['loss_latents'].item() == pytest.approx(0.1 * size.item())
    torch.testing.assert_close(
        output.statistics['weight'], values['amtml_weights'].mean(dim=0), rtol=0, atol=1e-9
    )
    loss = output.losses['loss'] + output.losses['loss_mentors']
    assert_golden(loss, logits, values, 'amtml_kl_ce')


@cases
def test_amtml_relations_of_logits(case):
    values = golden(case)
    mentors, channels = values['amtml_theta'].shape
    strategy = AMTML(temperature=5.0, relations_of='logits')
    strategy.build(Members(None, ['x'] * mentors, dict(output=channels), [{}] * mentors))
    strategy.double()
    strategy.latents.data.copy_(values['amtml_theta'])
    strategy.shared.data.copy_(values['amtml_W'][:, 0])
    output, _ = output_of(strategy, values, features=[dict(output=values['amtml_feature'])])
    for name in ('angle', 'distance'):
        expected = values[f'amtml_{name}_on_logits_loss'].item()
        assert output.losses[f'loss_{name}'].item() == pytest.approx(expected, rel=0, abs=1e-9)
