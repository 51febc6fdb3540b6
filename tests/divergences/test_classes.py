"""DKD, DIST and standardised KL against their formulas, written as their papers write them."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from members import Room, prediction, room
from toys import SETTINGS, build, classifier, estimator

from mmkd_classroom.divergences import DIST, DKD, KLDivergence, StandardisedKL
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter
from mmkd_classroom.rankers import TrueClassRanker
from mmkd_classroom.registry import MODELS
from mmkd_classroom.strategies import AMTML, AVER, CAMKD, EBKD, ClassroomKD, Members
from mmkd_classroom.structures import ClassTargets

DIVERGENCES = dict(dkd=DKD(), dist=DIST(), standardised=StandardisedKL())
ANY = pytest.mark.parametrize('divergence', DIVERGENCES.values(), ids=DIVERGENCES)


def pair(samples=6, classes=5, seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(2, samples, classes, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    targets = ClassTargets(labels, torch.ones(samples, 1, dtype=torch.float64))
    return logits[0], logits[1], targets


def of(divergence, student, mentor, targets, *temperatures):
    members = prediction(None, student), prediction(None, mentor)
    return divergence(*members, targets, *temperatures)


def by_the_dkd_paper(student, mentor, labels, alpha, beta, T):
    """Two classes, target and others; then the others alone, with the target masked."""
    p, q = (mentor / T).softmax(1), (student / T).softmax(1)
    target = F.one_hot(labels, p.shape[1]).bool()
    total = []
    for i in range(len(p)):
        p_t, q_t = p[i][target[i]], q[i][target[i]]
        p_rest, q_rest = p[i][~target[i]], q[i][~target[i]]
        tckd = p_t * (p_t / q_t).log() + (1 - p_t) * ((1 - p_t) / (1 - q_t)).log()
        p_hat, q_hat = p_rest / p_rest.sum(), q_rest / q_rest.sum()
        nckd = (p_hat * (p_hat / q_hat).log()).sum()
        total.append(T**2 * (alpha * tckd + beta * nckd))
    return torch.stack(total)


@given(
    seed=st.integers(0, 1000),
    classes=st.integers(2, 12),
    T=st.sampled_from([1.0, 2.0, 4.0]),
    beta=st.sampled_from([0.0, 0.5, 8.0]),
)
@settings(max_examples=25, deadline=None)
def test_dkd_is_the_paper_s(seed, classes, T, beta):
    student, mentor, targets = pair(classes=classes, seed=seed)
    student.requires_grad_()
    ours = of(DKD(alpha=0.7, beta=beta), student, mentor, targets, T)
    expected = by_the_dkd_paper(student, mentor, targets.labels, 0.7, beta, T)
    torch.testing.assert_close(ours, expected)
    ours, expected = (torch.autograd.grad(value.sum(), student)[0] for value in (ours, expected))
    torch.testing.assert_close(ours, expected)


def test_dkd_is_kl_where_the_others_weigh_their_own_probability():
    """KL = TCKD + (1 - p_t) NCKD, equation 6 of the paper."""
    student, mentor, targets = pair(samples=40)
    p_t = mentor.softmax(1).gather(1, targets.labels[:, None])
    two, others = (
        of(DKD(alpha, beta), student, mentor, targets, 1.0) for alpha, beta in ((1, 0), (0, 1))
    )
    kl = of(KLDivergence(), student, mentor, targets, 1.0)
    torch.testing.assert_close(two + (1 - p_t) * others, kl)


@pytest.mark.parametrize('sure', [1e2, 1e5])
def test_dkd_of_certain_members_is_finite(sure):
    student, mentor, targets = pair()
    student = (sure * student).float().requires_grad_()
    loss = of(DKD(), student, (sure * mentor).float(), targets, 1.0).sum()
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


@given(seed=st.integers(0, 1000), samples=st.integers(2, 9), T=st.sampled_from([1.0, 4.0]))
@settings(max_examples=25, deadline=None)
def test_dist_is_the_paper_s(seed, samples, T):
    student, mentor, targets = pair(samples=samples, seed=seed)
    student.requires_grad_()
    ours = of(DIST(beta=2.0, gamma=3.0), student, mentor, targets, T).mean()
    p, q = (mentor / T).softmax(1), (student / T).softmax(1)

    def distance(a, b):
        return torch.stack([1 - torch.corrcoef(torch.stack(rows))[0, 1] for rows in zip(a, b)])

    expected = T**2 * (2 * distance(q, p).mean() + 3 * distance(q.T, p.T).mean())
    torch.testing.assert_close(ours, expected)
    ours, expected = (torch.autograd.grad(value, student)[0] for value in (ours, expected))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)


def test_dist_leaves_samples_out_that_the_mentor_lacks():
    student, mentor, targets = pair(samples=6)
    members = prediction(None, student), prediction(None, mentor)
    members[1].valid[[1, 4]] = False
    ours = DIST()(*members, targets, 1.0)[[0, 2, 3, 5]]
    rest = [0, 2, 3, 5]
    alone = of(DIST(), student[rest], mentor[rest], None, 1.0)
    torch.testing.assert_close(ours, alone)


@given(seed=st.integers(0, 1000), T=st.sampled_from([1.0, 2.0]))
@settings(max_examples=25, deadline=None)
def test_standardised_kl_is_the_paper_s(seed, T):
    student, mentor, targets = pair(seed=seed)
    z_s, z_m = ((z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) for z in (student, mentor))
    p, q = (z_m / T).softmax(1), (z_s / T).softmax(1)
    expected = T**2 * (p * (p / q).log()).sum(1)
    ours = of(StandardisedKL(), student, mentor, targets, T)[:, 0]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)
    # Neither a shift nor a scale of the logits counts.
    other = of(StandardisedKL(), 3 * student + 7, mentor, targets, T)[:, 0]
    torch.testing.assert_close(other, ours, rtol=1e-5, atol=1e-8)


def test_equal_logits_of_a_new_head_have_an_ordinary_gradient():
    student = torch.zeros(4, 10, requires_grad=True)
    mentor = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    of(StandardisedKL(), student, mentor, torch.arange(4), 1.0).sum().backward()
    assert 0 < student.grad.abs().max() < 100


@ANY
def test_it_is_least_where_the_student_is_the_mentor(divergence):
    _, mentor, targets = pair()
    assert of(divergence, mentor, mentor, targets, 2.0).abs().max() < 1e-6
    student, _, _ = pair(seed=1)
    assert of(divergence, student, mentor, targets, 2.0).min() > 1e-4


@ANY
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(divergence, dtype):
    student, mentor, targets = pair()
    half = of(divergence, student.to(dtype), mentor.to(dtype), targets, 2.0)
    single = of(divergence, student.to(dtype).float(), mentor.to(dtype).float(), targets, 2.0)
    assert half.dtype == torch.float32 and torch.equal(half, single)


@ANY
def test_a_batch_of_one_and_equal_logits_are_finite(divergence):
    student, mentor, targets = pair(samples=1)
    flat = torch.zeros_like(student).requires_grad_()
    loss = (
        of(divergence, flat, mentor, targets, 2.0).sum()
        + of(divergence, student, torch.zeros_like(student), targets, 2.0).sum()
    )
    loss.backward()
    assert loss.isfinite() and flat.grad.isfinite().all()


@ANY
@pytest.mark.parametrize(
    'strategy',
    [
        ClassroomKD(tau_max=4.0),
        ClassroomKD(temperature_mode='dtkd', temperature=4.0),
        AVER(4.0),
        EBKD(4.0),
        CAMKD(4.0, feature_weight=0),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_every_strategy_takes_it(divergence, strategy):
    classroom = room('classes', 3, samples=8)
    classroom.divergence = divergence
    (student,) = classroom.leaves()
    loss = classroom.output(strategy).losses['loss_mentors']
    loss.backward()
    assert loss > 0 and student.grad.isfinite().all() and student.grad.abs().max() > 1e-6


@ANY
def test_amtml_takes_it_from_its_mixture(divergence):
    """With one mentor the mixture is that mentor."""
    student, mentor, targets = pair()
    members = [prediction(None, values) for values in (student, mentor)]
    classroom = Room(members, targets, TrueClassRanker(), divergence)
    feature = torch.ones(len(student), 4, 1, 1, dtype=torch.float64)
    classroom.change(0, features=dict(output=feature))
    strategy = AMTML(balance=0.5, temperature=2.0)
    strategy.build(Members(None, ['x'], dict(output=4), [{}]))
    loss = classroom.output(strategy.double()).losses['loss_mentors'].item()
    expected = divergence(*members, targets, 2.0).mean().item()
    if isinstance(divergence, StandardisedKL):  # of logarithms of a mixture: another scale
        assert loss == pytest.approx(expected, rel=1e-4)
    else:
        assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('name', ['DKD', 'DIST', 'StandardisedKL'])
def test_it_is_chosen_in_the_config_and_refused_for_joints(name):
    def classroom(kind):
        setting = SETTINGS[kind]
        return MODELS.build(
            dict(
                type='mmkd_classroom.MultiMentorDistiller',
                student=build(setting['model']()),
                mentors=[dict(config=dict(model=setting['model'](16)), checkpoint=None)],
                divergence=dict(type=name),
            )
        )

    model = classroom('classes')
    inputs, samples = SETTINGS['classes']['batch']()
    model.prepare(samples)
    assert model(inputs, samples, mode='loss')['loss_mentors'].isfinite()
    with pytest.raises(ClassroomError, match=rf'model\.divergence is {name}.*keypoints.*KLDiv'):
        classroom('pose')


def test_dkd_needs_hard_labels():
    student = classifier()
    student['data_preprocessor']['batch_augments'] = dict(augments=dict(type='Mixup', alpha=0.2))
    adapter = build_adapter(build(student))
    with pytest.raises(ClassroomError, match=r'DKD, which needs one true class.*Mixup'):
        DKD().check(adapter)
    DIST().check(adapter)
    DKD().check(build_adapter(build(classifier())))


@pytest.mark.parametrize(
    'make, option',
    [
        (lambda: DKD(alpha=-1), 'alpha'),
        (lambda: DKD(beta=float('nan')), 'beta'),
        (lambda: DIST(gamma=-1), 'gamma'),
    ],
)
def test_impossible_options_are_named(make, option):
    with pytest.raises(ClassroomError, match=rf'model\.divergence\.{option} is'):
        make()


def test_keypoint_heads_take_kl():
    KLDivergence().check(build_adapter(build(estimator())))
