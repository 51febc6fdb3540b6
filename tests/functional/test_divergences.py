"""The softened divergence against SciPy, PyTorch and finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import entropy

from mmkd_classroom.functional import kl_divergence

logits = hnp.arrays(np.float64, (2, 7), elements=st.floats(-50, 50))


@given(logits, logits, st.floats(0.5, 20))
def test_equals_scipy(student, mentor, tau):
    ours = kl_divergence(*map(torch.from_numpy, (student, mentor)), torch.full((2,), tau).double())
    expected = tau**2 * entropy(softmax(mentor / tau, -1), softmax(student / tau, -1), axis=-1)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-9)
    assert (ours > -1e-9).all()


def test_equals_pytorch_with_a_temperature_per_sample():
    student, mentor = torch.randn(2, 5, 11, dtype=torch.float64)
    tau = torch.tensor([1.0, 2.0, 4.0, 7.5, 13.0], dtype=torch.float64)
    ours = kl_divergence(student, mentor, tau)
    for i in range(5):
        expected = tau[i] ** 2 * F.kl_div(
            (student[i] / tau[i]).log_softmax(-1), (mentor[i] / tau[i]).softmax(-1),
            reduction='sum',
        )  # fmt: skip
        torch.testing.assert_close(ours[i], expected)


def test_student_and_mentor_may_have_different_temperatures():
    student, mentor = torch.randn(2, 3, 6, dtype=torch.float64)
    tau, tau_student = torch.full((3,), 5.0).double(), torch.full((3,), 2.0).double()
    expected = 10 * F.kl_div(
        (student / 2).log_softmax(-1), (mentor / 5).softmax(-1), reduction='none'
    ).sum(-1)
    torch.testing.assert_close(kl_divergence(student, mentor, tau, tau_student), expected)


def test_gradient_is_that_of_finite_differences():
    student = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    mentor = torch.randn(3, 6, dtype=torch.float64)
    tau = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: kl_divergence(z, mentor, tau), student)
    assert torch.autograd.gradcheck(lambda z: kl_divergence(z, mentor, tau, 2 * tau), student)


def test_gradient_is_the_temperature_times_the_difference_of_the_softened():
    student = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    mentor = torch.randn(4, 6, dtype=torch.float64)
    tau = torch.full((4,), 4.0, dtype=torch.float64)
    kl_divergence(student, mentor, tau).sum().backward()
    expected = 4 * ((student.detach() / 4).softmax(-1) - (mentor / 4).softmax(-1))
    torch.testing.assert_close(student.grad, expected)


@given(logits, logits, st.floats(0.5, 20), st.floats(0, 1))
def test_a_weighted_sum_teaches_as_the_weighted_mean_of_the_distributions(one, other, tau, share):
    """So several mentors at one temperature need no ensemble: their losses' sum is that of it."""
    mentors, weights = torch.from_numpy(np.stack([one, other])), (share, 1 - share)
    student = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    total = sum(w * kl_divergence(student, z, tau).sum() for w, z in zip(weights, mentors))
    mean = sum(w * (z / tau).softmax(-1) for w, z in zip(weights, mentors))
    ensemble = tau**2 * F.kl_div((student / tau).log_softmax(-1), mean, reduction='sum')
    (expected,) = torch.autograd.grad(ensemble, student)
    torch.testing.assert_close(*torch.autograd.grad(total, student), expected)


def test_no_divergence_from_oneself():
    z = 10 * torch.randn(4, 9)
    assert kl_divergence(z, z.clone(), torch.ones(4)).abs().max() < 1e-6
    assert kl_divergence(z, z + 5, torch.ones(4)).abs().max() < 1e-5  # softmax ignores a shift


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, mentor = (6 * torch.randn(2, 5, 40)).to(dtype)
    tau = torch.linspace(1, 5, 5)
    ours = kl_divergence(student, mentor, tau)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, kl_divergence(student.float(), mentor.float(), tau))


def test_certain_and_opposite_members_give_finite_numbers():
    student = torch.tensor([[1e4, 0.0]], requires_grad=True)
    value = kl_divergence(student, torch.tensor([[0.0, 1e4]]), torch.ones(1))
    value.sum().backward()
    assert value.isfinite().all() and student.grad.isfinite().all()
    assert value.item() == pytest.approx(1e4)


@given(
    hnp.arrays(np.float64, (4, 2, 7), elements=st.floats(-9, 9)),
    hnp.arrays(np.float64, 3, elements=st.floats(0.1, 3)),
    st.floats(0.5, 8),
)
def test_several_mentors_at_one_temperature_teach_as_their_mixture(logits, weights, tau):
    student, *mentors = torch.from_numpy(logits)
    student.requires_grad_()
    taus = torch.full((2,), tau).double()
    several = sum(w * kl_divergence(student, m, taus).sum() for w, m in zip(weights, mentors))
    mixture = sum(w * (m / tau).softmax(-1) for w, m in zip(weights, mentors)) / weights.sum()
    one = weights.sum() * kl_divergence(student, tau * mixture.log(), taus).sum()
    (expected,) = torch.autograd.grad(one, student)
    (gradient,) = torch.autograd.grad(several, student)
    torch.testing.assert_close(gradient, expected)
