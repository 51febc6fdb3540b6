"""AVER, EBKD and CA-MKD against their formulas, written once more as slow loops."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from members import ADAPTERS, KINDS, fields, nll, prediction, room, scale, softened

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.strategies import AVER, CAMKD, EBKD, ClassroomKD, Members

STRATEGIES = dict(
    aver=partial(AVER, temperature=4.0),
    ebkd=partial(EBKD, temperature=4.0),
    camkd=partial(CAMKD, temperature=4.0, feature_weight=0),
)
kinds = pytest.mark.parametrize('kind', KINDS)
strategies = pytest.mark.parametrize('name', STRATEGIES)


def weight_of(name, kind, classroom, there, m, i):
    """The published weight of mentor m on sample i, among those that are there."""
    labelled = [k for k, w in enumerate(classroom.targets.weights[i]) if w > 0]

    def mean(value):  # over the labelled items
        return sum(map(value, labelled)) / max(1, len(labelled))

    if name == 'aver' or len(there) == 1:
        return 1.0
    if name == 'ebkd':
        table = {}
        for other in there:

            def entropy(k, other=other):
                parts = fields(kind, classroom.members[other], i, k)
                return sum(-(p * p.log()).sum().item() for p in (softened(z, 1) for z in parts))

            table[other] = mean(entropy)
        return 1 - table[m] / sum(table.values()) if labelled else 1 - 1 / len(there)
    table = {
        other: math.exp(mean(lambda k, other=other: nll(classroom, other, i, k))) for other in there
    }
    return (1 - table[m] / sum(table.values())) / (len(there) - 1)


def by_the_formula(name, kind, classroom, temperature, weight):
    """The distillation loss, one mentor, sample and item at a time."""
    targets, total = classroom.targets, 0.0
    samples = len(targets.weights)
    for i in range(samples):
        there = [m for m in range(1, len(classroom.members)) if classroom.members[m].valid[i].any()]
        for m in there:
            share = weight_of(name, kind, classroom, there, m, i) / len(there)
            for k, item in enumerate(targets.weights[i]):
                parts = (fields(kind, classroom.members[j], i, k) for j in (m, 0))
                for theirs, ours in zip(*parts):
                    p, q = softened(theirs, temperature), softened(ours, temperature)
                    kl = (p * (p / q).log()).sum() * scale(kind, samples, len(p))
                    total = total + item * share * temperature**2 * kl
    return weight * total / samples


@kinds
@strategies
@pytest.mark.parametrize('mentors', [1, 2, 4])
def test_loss_and_gradient_are_the_formula_s(kind, name, mentors):
    for seed, temperature in enumerate([1.0, 3.0, 5.0]):
        classroom = room(kind, mentors, seed=seed)
        leaves = classroom.leaves()
        strategy = STRATEGIES[name](temperature=temperature, weight=0.7)
        loss = classroom.output(strategy).losses['loss_mentors']
        expected = by_the_formula(name, kind, classroom, temperature, 0.7)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
        ours, slow = torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves)
        for one, other in zip(ours, slow):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)


@kinds
@strategies
def test_a_mentor_that_is_not_valid_is_as_if_it_were_not_there(kind, name):
    classroom = room(kind, 3)
    classroom.change(2, valid=torch.tensor([[True], [False], [True], [False], [False]]))
    classroom.change(1, valid=torch.tensor([[True], [False], [True], [True], [True]]))
    loss = classroom.output(STRATEGIES[name]()).losses['loss_mentors']
    expected = by_the_formula(name, kind, classroom, 4.0, 1.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


@kinds
@strategies
def test_without_any_valid_mentor_nothing_is_taught(kind, name):
    classroom = room(kind, 2)
    leaves = classroom.leaves()
    for member in (1, 2):
        classroom.change(member, valid=torch.zeros(5, 1, dtype=torch.bool))
    output = classroom.output(STRATEGIES[name]())
    output.losses['loss_mentors'].backward()
    assert output.losses['loss_mentors'] == 0
    assert all((leaf.grad == 0).all() for leaf in leaves)
    assert output.statistics['weight'].tolist() == [0, 0]
    assert output.statistics['invalid'].tolist() == [5, 5]


@pytest.mark.parametrize('kind', ['heatmap', 'simcc'])
@strategies
def test_a_joint_that_a_mentor_lacks_is_taught_by_the_others(kind, name):
    """Where no mentor has it, by nobody; the joints that all have are as before."""
    classroom = room(kind, 2)
    leaves = classroom.leaves()
    classroom.change(1, valid=torch.tensor([[True, False, False]]))
    classroom.change(2, valid=torch.tensor([[True, True, False]]))
    output = classroom.output(STRATEGIES[name]())
    output.losses['loss_mentors'].backward()
    gradient = leaves[0].grad[0].flatten(1).abs().amax(dim=1)  # of the sample with all labels
    assert gradient[0] > 0 and gradient[1] > 0 and gradient[2] == 0


@pytest.mark.parametrize('kind', ['heatmap', 'simcc'])
def test_the_score_is_that_of_the_joints_that_a_mentor_has(kind):
    """With any strategy."""
    classroom = room(kind, 2)
    classroom.change(1, valid=torch.tensor([[True, True, False]]))
    rows = [
        (i, row.nonzero().flatten().tolist()) for i, row in enumerate(classroom.targets.weights)
    ]
    rows = [(i, [k for k in labelled if k < 2]) for i, labelled in rows if labelled]
    scores = [[math.exp(-nll(classroom, 1, i, k)) for k in has] for i, has in rows]
    scores = [row for row in scores if row]  # of the others it says nothing
    expected = sum(sum(row) / len(row) for row in scores) / len(scores)
    classroom_kd = [ClassroomKD(granularity=name, tau_max=0.0) for name in ('sample', 'keypoint')]
    for strategy in [make() for make in STRATEGIES.values()] + classroom_kd:
        output = classroom.output(strategy, dict(loss_task=torch.tensor(2.0)))
        assert output.statistics['score'][0].item() == pytest.approx(expected, rel=1e-6)


@kinds
@strategies
def test_other_losses_stay_as_they_are(kind, name):
    own = dict(loss_task=torch.tensor(2.0), acc=torch.tensor(0.5))
    output = room(kind).output(STRATEGIES[name](), own)
    assert {name: output.losses[name] for name in own} == own
    assert set(output.losses) == {*own, 'loss_mentors'}


@kinds
@strategies
def test_statistics(kind, name):
    classroom = room(kind, 3)
    targets = classroom.targets
    output = classroom.output(STRATEGIES[name](), dict(loss_task=torch.tensor(2.0)))
    found = output.statistics
    assert set(found) == {'weight', 'share', 'score', 'invalid', 'student_score'}
    assert not any(value.requires_grad for value in found.values())
    labelled = [(i, k, w) for i, row in enumerate(targets.weights) for k, w in enumerate(row) if w]
    count = sum(w for *_, w in labelled)
    for m in (0, 1, 2, 3):
        score = sum(w * math.exp(-nll(classroom, m, i, k)) for i, k, w in labelled) / count
        reported = found['score'][m - 1] if m else found['student_score']
        assert reported.item() == pytest.approx(score.item(), rel=1e-6)
    for m in (1, 2, 3):
        weights = [
            w * weight_of(name, kind, classroom, [1, 2, 3], m, i) / 3 for i, _, w in labelled
        ]
        assert found['weight'][m - 1].item() == pytest.approx((sum(weights) / count).item())
    whole = output.losses['loss_mentors'] + 2
    share = output.losses['loss_mentors'] / whole
    assert found['share'].sum().item() == pytest.approx(share.item())


@kinds
def test_one_mentor_is_hinton_s_distillation_for_all(kind):
    classroom = room(kind, 1)
    losses = [
        classroom.output(make()).losses['loss_mentors'].item() for make in STRATEGIES.values()
    ]
    assert losses[1:] == pytest.approx(losses[:1] * 2)
    if kind == 'classes':
        ours, theirs = (member.values[0][:, 0] / 4 for member in classroom.members)
        kl = F.kl_div(ours.log_softmax(-1), theirs.softmax(-1), reduction='batchmean')
        assert losses[0] == pytest.approx(16 * kl.item())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@kinds
@strategies
def test_half_precision_members_are_compared_in_float32(kind, name, dtype):
    def loss(cast):
        classroom = room(kind, 3)
        single = {
            field: value.float() if value.is_floating_point() else value
            for field, value in vars(classroom.targets).items()
        }
        classroom.targets = type(classroom.targets)(**single)
        adapter = ADAPTERS.get(kind)
        for index, member in enumerate(classroom.members):
            values = [cast(value if adapter else value[:, 0]) for value in member.values]
            classroom.members[index] = prediction(adapter, *values)
        return classroom.output(STRATEGIES[name]()).losses['loss_mentors']

    half = loss(lambda tensor: tensor.to(dtype))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(lambda tensor: tensor.to(dtype).float()).item())


@kinds
def test_camkd_features_are_the_formula_s(kind):
    """A sample without a label has no confidence, and so no part."""
    classroom = room(kind, 2)
    strategy = CAMKD(4.0, 0.5, feature_weight=3.0, student_stage='a', mentor_stages='b')
    assert strategy.stages(['x', 'y']) == (['a'], [['b'], ['b']])
    strategy.build(Members(None, ['x', 'y'], dict(a=4), [dict(b=6), dict(b=2)]))
    strategy.double()
    maps = [torch.randn(5, c, 3, 2, dtype=torch.float64) for c in (4, 6, 2)]
    for member, (stage, values) in enumerate(zip('abb', maps)):
        classroom.change(member, features={stage: values})
    classroom.members[2].valid[1] = False
    output = classroom.output(strategy, dict(loss_task=torch.tensor(2.0)))
    loss, total, of_mentor = output.losses['loss_features'], 0.0, [0.0, 0.0]
    for i in range(5):
        there = [1] if i == 1 else [1, 2]
        for m in there:
            transform = strategy.transforms[m - 1]
            regressed = F.conv2d(maps[0][i, None], transform.weight, transform.bias)[0]
            share = weight_of('camkd', kind, classroom, there, m, i) / len(there)
            labelled = classroom.targets.weights[i].sum()  # 1 or 0
            distance = labelled * share * F.mse_loss(regressed, maps[m][i])
            total, of_mentor[m - 1] = total + distance, of_mentor[m - 1] + distance
    sizes = [len(logits) for logits in fields(kind, classroom.student, 0, 0)]
    factor = 0.5 * 3.0 * sum(scale(kind, 5, size) for size in sizes) / len(sizes)
    assert loss.item() == pytest.approx(factor * total.item() / 5, rel=1e-9)

    # In a mentor's share of the loss its features count, too.
    strategy.feature_weight = 0
    without = classroom.output(strategy, dict(loss_task=torch.tensor(2.0)))
    whole = sum(output.losses.values())
    logits = without.statistics['share'] * sum(without.losses.values())
    expected = [(logits[m] + factor * of_mentor[m] / 5) / whole for m in (0, 1)]
    assert output.statistics['share'].tolist() == pytest.approx([e.item() for e in expected])
    loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in strategy.parameters())


@pytest.mark.parametrize(
    'make, option',
    [
        (lambda: AVER(temperature=0), 'temperature'),
        (lambda: EBKD(weight=-1), 'weight'),
        (lambda: EBKD(weight=float('nan')), 'weight'),
        (lambda: AVER(temperature=float('inf')), 'temperature'),
        (lambda: CAMKD(feature_weight=-1), 'feature_weight'),
    ],
)
def test_impossible_options_are_named(make, option):
    with pytest.raises(ClassroomError, match=rf'model\.strategy\.{option} is'):
        make()


def test_a_stage_for_each_mentor():
    strategy = CAMKD(mentor_stages=['layer3', 'stages.2'])
    assert strategy.stages(['x', 'y'])[1] == [['layer3'], ['stages.2']]
    with pytest.raises(ClassroomError, match='mentor_stages names 2 stages for 3 mentors'):
        CAMKD(mentor_stages=['a', 'b']).stages(['x', 'y', 'z'])
