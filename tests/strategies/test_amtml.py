"""AMTML-KD against its formula, written once more as slow loops, and what must not disturb it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from members import ADAPTERS, KINDS, fields, room, scale, softened

from mmkd_classroom.divergences import MSE, KLDivergence
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.strategies import AMTML, Members

CHANNELS = 4
kinds = pytest.mark.parametrize('kind', KINDS)


def amtml(classroom, **options):
    """A strategy with latents far from their small start, and the student's feature map."""
    strategy = AMTML(**dict(dict(temperature=5.0), **options))
    names = [f'mentor_{index}' for index in range(len(classroom.mentors))]
    ours, theirs = strategy.stages(names)
    generator = torch.Generator().manual_seed(7)
    samples = len(classroom.targets.weights)
    for index, (member, stages) in enumerate(zip(classroom.members, [ours, *theirs])):
        for stage in stages:
            shape = (samples, CHANNELS + index, 3, 2)
            member.features[stage] = torch.randn(shape, dtype=torch.float64, generator=generator)
    channels = [
        dict.fromkeys(stages, CHANNELS + index) for index, stages in enumerate([ours, *theirs])
    ]
    strategy.build(Members(None, names, channels[0], channels[1:]))
    strategy.double()
    with torch.no_grad():
        for parameter in strategy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return strategy


def mean_scale(kind, classroom):
    """Of the distributions of an item."""
    sizes = [len(logits) for logits in fields(kind, classroom.student, 0, 0)]
    return sum(scale(kind, len(classroom.targets.weights), size) for size in sizes) / len(sizes)


def mixture(kind, strategy, classroom, i, k, temperature):
    """Target of one item; None where no mentor is valid."""
    beta = classroom.student.features[strategy.stage][i].flatten(1).max(dim=1).values
    valid = torch.stack([mentor.valid for mentor in classroom.mentors])  # (M, N, K)
    there = [m for m in range(len(valid)) if valid[m, i, k]]
    if not there:
        return None
    scores = torch.stack([(strategy.shared * beta * strategy.latents[m]).sum() for m in there])
    parts = []
    for mu, m in zip(scores.softmax(0), there):
        softs = [softened(z, temperature) for z in fields(kind, classroom.mentors[m], i, k)]
        parts.append([mu * p for p in softs])
    return [sum(field) for field in zip(*parts)]


def kl_by_the_formula(kind, strategy, classroom, temperature, balance, mean=False):
    targets, total = classroom.targets, 0.0
    samples = len(targets.weights)
    for i in range(samples):
        for k, item in enumerate(targets.weights[i]):
            target = mixture(kind, strategy, classroom, i, k, temperature)
            for p, logits in zip(target or [], fields(kind, classroom.student, i, k)):
                q = softened(logits, temperature)
                kl = (p * (p / q).log()).sum() * scale(kind, samples, len(p))
                sizes = [len(field) for field in target]
                total = total + item * kl / (sum(sizes) / len(sizes) if mean else 1)
    return 2 * temperature**2 * balance * total / samples


@kinds
@pytest.mark.parametrize('reduction', ['batchmean', 'mean'])
@pytest.mark.parametrize('mentors', [1, 3])
def test_kl_and_its_gradients_are_the_formula_s(kind, reduction, mentors):
    classroom = room(kind, mentors)
    leaves = classroom.leaves()
    strategy = amtml(classroom, temperature=3.0, balance=0.6, weight=0.7, kl_reduction=reduction)
    loss = classroom.output(strategy).losses['loss_mentors']
    expected = 0.7 * kl_by_the_formula(kind, strategy, classroom, 3.0, 0.6, reduction == 'mean')
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    learned = [*leaves, *([strategy.shared, strategy.latents] if mentors > 1 else [])]
    ours, slow = torch.autograd.grad(loss, learned), torch.autograd.grad(expected, learned)
    for one, other in zip(ours, slow):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)
        assert one.abs().max() > 1e-6


@kinds
def test_a_mentor_that_is_not_valid_is_as_if_it_were_not_there(kind):
    classroom = room(kind, 3)
    classroom.change(2, valid=torch.tensor([[True], [False], [True], [False], [False]]))
    classroom.change(1, valid=torch.tensor([[True], [False], [True], [True], [True]]))
    classroom.change(3, valid=torch.tensor([[True], [False], [True], [True], [True]]))
    if kind != 'classes':  # and one that lacks a joint
        has = torch.tensor([[True, False, True]])
        classroom.change(3, valid=classroom.members[3].valid & has)
    strategy = amtml(classroom)
    loss = classroom.output(strategy).losses['loss_mentors']
    expected = kl_by_the_formula(kind, strategy, classroom, 5.0, 0.7)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


@kinds
def test_without_any_valid_mentor_only_the_task_is_taught(kind):
    classroom = room(kind, 2)
    leaves = classroom.leaves()
    hints = [dict(student='a', mentor=0, stage='b')]
    strategy = amtml(classroom, hints=hints)
    for member in (1, 2):
        classroom.change(member, valid=torch.zeros(5, 1, dtype=torch.bool))
    losses = classroom.output(strategy, dict(loss_task=torch.tensor(2.0))).losses
    assert losses['loss_task'].item() == pytest.approx(0.3 * 2)
    for name in ('loss_mentors', 'loss_angle', 'loss_distance', 'loss_hints'):
        assert losses[name].abs() < 1e-30, name
    sum(losses.values()).backward()
    assert all(leaf.grad.abs().max() < 1e-30 for leaf in leaves)
    assert all(parameter.grad.isfinite().all() for parameter in strategy.parameters())


def slow_relations(outputs, labelled):
    """Distances in units of their mean, and cosines; of the items that all samples have."""
    difference = outputs[:, None] - outputs[None]
    both = labelled[:, None] & labelled[None]
    difference = torch.where(both[..., None], difference, 0.0).flatten(2)
    length = difference.norm(dim=2)
    unit = F.normalize(difference, dim=2)
    return length / length[length > 0].mean(), torch.einsum('jid,jkd->jik', unit, unit)


@kinds
@pytest.mark.parametrize('outputs', ['log_probabilities', 'logits'])
def test_relations_are_between_the_student_s_outputs_and_the_target(kind, outputs):
    classroom = room(kind, 2, samples=6)
    weights = dict(angle_weight=2.0, distance_weight=3.0, weight=0.5)
    strategy = amtml(classroom, relations_of=outputs, temperature=3.0, **weights)
    output = classroom.output(strategy)
    ours, theirs = [], []
    for i, row in enumerate(classroom.targets.weights):
        items = range(len(row))
        logits = [torch.cat(fields(kind, classroom.student, i, k)) for k in items]
        if outputs == 'log_probabilities':
            logits = [
                torch.cat([softened(z, 3).log() for z in fields(kind, classroom.student, i, k)])
                for k in items
            ]
        ours.append(torch.stack(logits))
        theirs.append(
            torch.stack([torch.cat(mixture(kind, strategy, classroom, i, k, 3)) for k in items])
        )
    labelled = classroom.targets.weights > 0
    pairs = [slow_relations(torch.stack(values), labelled) for values in (ours, theirs)]
    for name, weight, index in [('distance', 3.0, 0), ('angle', 2.0, 1)]:
        loss = F.smooth_l1_loss(pairs[0][index], pairs[1][index])
        expected = 0.5 * weight * loss * mean_scale(kind, classroom)
        assert output.losses[f'loss_{name}'].item() == pytest.approx(expected.item(), rel=1e-8)
        assert loss > 1e-4


def test_relations_can_be_left_out():
    classroom = room('classes')
    losses = classroom.output(amtml(classroom, angle_weight=0, distance_weight=0)).losses
    assert set(losses) == {'loss_mentors', 'loss_latents'}


@kinds
def test_hints_are_the_formula_s(kind):
    classroom = room(kind, 2)
    hints = [
        dict(student='low', mentor='mentor_1', stage='layer1'),
        dict(student='high', mentor=0, stage='layer2'),
        dict(student='high', mentor=1, stage='layer3'),
    ]
    strategy = amtml(classroom, hints=hints, hint_weight=2.0, weight=0.5, stage='high')
    assert set(classroom.student.features) == {'low', 'high'}
    assert [set(m.features) for m in classroom.mentors] == [{'layer2'}, {'layer1', 'layer3'}]
    classroom.change(2, valid=torch.tensor([[True], [False], [True], [True], [True]]))
    output = classroom.output(strategy, dict(loss_task=torch.tensor(2.0)))
    loss, total, of_mentor = output.losses['loss_hints'], 0.0, [0.0, 0.0]
    for hint, convolution in zip(hints, strategy.hints):
        m = 1 if hint['mentor'] == 'mentor_1' else hint['mentor']
        for i in range(5):
            if m == 1 and i == 1:
                continue
            ours = classroom.student.features[hint['student']][i]
            theirs = classroom.mentors[m].features[hint['stage']][i]
            regressed = torch.einsum(
                'mc,chw->mhw', convolution.weight[:, :, 0, 0], ours / ours.norm(dim=0)
            )
            distance = F.mse_loss(regressed, theirs / theirs.norm(dim=0)) / 5
            total, of_mentor[m] = total + distance, of_mentor[m] + distance
    expected = 2.0 * 0.5 * total * mean_scale(kind, classroom)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)

    # A mentor's share of the loss: of the mixture's by its weight, and of the hints its own.
    losses = output.losses
    mixture = losses['loss_mentors'] + losses['loss_angle'] + losses['loss_distance']
    whole = sum(value.abs() for value in losses.values())
    for m, weight in enumerate(output.statistics['weight']):
        part = weight * mixture + mean_scale(kind, classroom) * of_mentor[m]
        assert output.statistics['share'][m].item() == pytest.approx((part / whole).item())


def test_losses_and_statistics():
    classroom = room('classes', 3)
    strategy = amtml(classroom, decay=0.2)
    own = dict(loss=torch.tensor(2.0), acc=torch.tensor(0.5))
    output = classroom.output(strategy, own)
    assert output.losses['loss'].item() == pytest.approx(0.3 * 2) and output.losses['acc'] == 0.5
    size = strategy.shared.square().sum() + strategy.latents.square().sum()
    assert output.losses['loss_latents'].item() == pytest.approx(0.2 * size.item())
    assert set(output.statistics) == {'weight', 'share', 'score', 'invalid', 'student_score'}
    assert output.statistics['weight'].sum().item() == pytest.approx(1)
    assert output.statistics['weight'].std() > 1e-3
    assert not any(value.requires_grad for value in output.statistics.values())


def test_weight_zero_leaves_the_task_and_the_decay():
    classroom = room('classes', 2)
    losses = classroom.output(amtml(classroom, weight=0.0), dict(loss=torch.tensor(1.0))).losses
    assert {name for name, value in losses.items() if value != 0} == {'loss', 'loss_latents'}


def test_certain_mentors_leave_a_finite_gradient():
    """A probability that underflows to 0 has an infinite derivative of p log p."""
    classroom = room('classes', 2)
    leaves = classroom.leaves()
    for member, mentor in enumerate(classroom.mentors, 1):
        classroom.change(member, values=(1e5 * mentor.values[0],))
    strategy = amtml(classroom)
    sum(classroom.output(strategy).losses.values()).backward()
    tensors = [*leaves, *strategy.parameters()]
    assert all(tensor.grad.isfinite().all() for tensor in tensors)


def test_latents_start_near_equal_weights():
    torch.manual_seed(0)
    strategy = AMTML(temperature=5.0)
    strategy.build(Members(None, list('abcd'), dict(output=512), [{}] * 4))
    size = strategy.shared.square().sum() + strategy.latents.square().sum()
    assert 3 < size < 7  # about one for each vector
    beta = torch.rand(64, 512)
    attraction = (beta[:, None] * strategy.latents * strategy.shared).sum(-1)
    assert (attraction.softmax(1) - 0.25).abs().max() < 0.05


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_members_are_compared_in_float32(dtype):
    def losses(cast):
        classroom = room('classes', 2)
        targets = classroom.targets
        classroom.targets = replace(targets, weights=targets.weights.float())
        hints = [dict(student='a', mentor=0, stage='b')]
        strategy = amtml(classroom, hints=hints).float()
        for index, member in enumerate(classroom.members):
            features = {name: cast(value) for name, value in member.features.items()}
            classroom.change(index, values=(cast(member.values[0]),), features=features)
        return classroom.output(strategy).losses

    half = losses(lambda tensor: tensor.to(dtype))
    full = losses(lambda tensor: tensor.to(dtype).float())
    assert all(value.dtype == torch.float32 for value in half.values())
    assert {k: v.item() for k, v in half.items()} == {k: v.item() for k, v in full.items()}


@pytest.mark.parametrize(
    'options, option',
    [
        (dict(temperature=0), 'temperature'),
        (dict(balance=1.2), 'balance'),
        (dict(weight=-1), 'weight'),
        (dict(decay=-1), 'decay'),
        (dict(hint_weight=float('nan')), 'hint_weight'),
        (dict(kl_reduction='sum'), 'kl_reduction'),
        (dict(relations_of='features'), 'relations_of'),
        (dict(hints=[dict(student='a', mentor=0, stage='b'), dict(student='a')]), r'hints\[1\]'),
    ],
)
def test_impossible_options_are_named(options, option):
    with pytest.raises(ClassroomError, match=rf'model\.strategy\.{option} is'):
        AMTML(**options)


@pytest.mark.parametrize('mentor', [2, -1, 'nobody'])
def test_a_hint_of_an_unknown_mentor_is_named(mentor):
    strategy = AMTML(hints=[dict(student='a', mentor=mentor, stage='b')])
    with pytest.raises(ClassroomError, match=r"hints\[0\]\.mentor is .*\['x', 'y'\].*below 2"):
        strategy.stages(['x', 'y'])


def test_squared_distances_have_no_distributions_to_mix():
    student = ADAPTERS['heatmap']
    AMTML().check(student, KLDivergence())
    with pytest.raises(ClassroomError, match=r'model\.divergence = MSE compares none: take'):
        AMTML().check(student, MSE())
