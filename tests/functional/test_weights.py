"""Mentors' weights against the released code's values, and what every weighting must keep."""

import numpy as np
import pytest
import torch
from goldens import CASES, golden
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from mmkd_classroom.functional import (
    confidence_weights,
    entropy,
    entropy_weights,
    latent_weights,
    log_likelihood,
    masked_softmax,
)

WEIGHTINGS = dict(entropy=entropy_weights, confidence=confidence_weights, softmax=masked_softmax)
weightings = pytest.mark.parametrize('weigh', WEIGHTINGS.values(), ids=WEIGHTINGS)


def classroom(seed, mentors=4, samples=5):
    """Values like entropies or cross-entropies, and a mask with at least one valid mentor."""
    generator = torch.Generator().manual_seed(seed)
    values = 3 * torch.rand(mentors, samples, dtype=torch.float64, generator=generator)
    valid = torch.rand(mentors, samples, generator=generator) > 0.4
    valid[seed % mentors] = True
    return values, valid


@pytest.mark.parametrize('case', CASES)
def test_weights_are_those_of_the_released_code(case):
    values = golden(case)
    mentors = values['mentor_logits']
    valid = torch.ones(mentors.shape[:2], dtype=torch.bool)
    cross_entropy = -log_likelihood(mentors, values['labels'])
    beta = values['amtml_feature'].amax(dim=(2, 3))
    ours = dict(
        ebkd=entropy_weights(entropy(mentors.softmax(-1)), valid),
        camkd=confidence_weights(cross_entropy, valid),
        amtml=latent_weights(beta, values['amtml_theta'], values['amtml_W'][:, 0], valid).t(),
    )
    for name, weights in ours.items():
        expected = values[f'{name}_weights']
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
        assert expected.std() > 1e-2  # they are not all alike


@given(st.integers(0, 10**6))
def test_entropy_is_scipy_s(seed):
    p = torch.rand(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    p = p * (p > 0.3)
    p[:, 0] += 0.1
    p = p / p.sum(dim=-1, keepdim=True)
    np.testing.assert_allclose(entropy(p).numpy(), scipy_entropy(p.numpy(), axis=-1), atol=1e-12)


@weightings
@given(seed=st.integers(0, 10**6))
def test_a_mentor_that_is_not_valid_might_as_well_not_be_there(weigh, seed):
    values, valid = classroom(seed)
    weights = weigh(values, valid)
    assert (weights[~valid] == 0).all() and (weights >= 0).all() and (weights <= 1).all()
    for i in range(values.shape[1]):
        there = valid[:, i]
        alone = weigh(values[there, i, None], torch.ones(int(there.sum()), 1, dtype=torch.bool))
        torch.testing.assert_close(weights[there, i], alone[:, 0], rtol=0, atol=1e-12)


@weightings
@given(seed=st.integers(0, 10**6))
def test_the_order_of_mentors_means_nothing(weigh, seed):
    values, valid = classroom(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(weigh(values[order], valid[order]), weigh(values, valid)[order])


@given(seed=st.integers(0, 10**6))
def test_sums(seed):
    values, valid = classroom(seed)
    count = valid.sum(dim=0)
    one = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(confidence_weights(values, valid).sum(dim=0), one)
    torch.testing.assert_close(masked_softmax(values, valid).sum(dim=0), one)
    expected = torch.where(count > 1, count - 1.0, 1.0).double()
    torch.testing.assert_close(entropy_weights(values, valid).sum(dim=0), expected)


@weightings
def test_one_mentor_has_weight_one(weigh):
    for value in (0.0, 1.0, 80.0):
        weights = weigh(torch.full((1, 3), value), torch.ones(1, 3, dtype=torch.bool))
        assert weights.tolist() == [[1.0] * 3]


@weightings
def test_where_no_mentor_is_valid_there_is_no_weight(weigh):
    values = torch.rand(3, 2, requires_grad=True)
    weights = weigh(values, torch.tensor([[False, True]] * 3))
    assert (weights[:, 0] == 0).all() and (weights[:, 1] > 0).all()
    weights.square().sum().backward()
    assert values.grad.isfinite().all()


@weightings
@given(better=st.floats(0, 5), worse=st.floats(0, 5))
def test_the_lower_value_never_says_less(weigh, better, worse):
    better, worse = sorted([better, worse])
    sign = -1 if weigh is masked_softmax else 1
    values = sign * torch.tensor([[better], [worse], [1.0]], dtype=torch.float64)
    weights = weigh(values, torch.ones(3, 1, dtype=torch.bool))
    assert weights[0] >= weights[1] - 1e-12


def test_mentors_without_entropy_share_it():
    weights = entropy_weights(torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full((4, 2), 0.75))


def test_extreme_cross_entropies_stay_finite():
    weights = confidence_weights(torch.tensor([[0.0], [1e4], [1e4]]), torch.ones(3, 1) > 0)
    torch.testing.assert_close(weights, torch.tensor([[0.5], [0.25], [0.25]]))


def test_latents_learn():
    beta = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    w = torch.randn(6, dtype=torch.float64, requires_grad=True)
    valid = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    assert torch.autograd.gradcheck(lambda *a: latent_weights(*a, valid), (beta, theta, w))


def test_latent_weights_are_one_a_sample_where_all_items_are_valid():
    beta, theta, w = torch.randn(4, 6), torch.randn(3, 6), torch.randn(6)
    per_sample = latent_weights(beta, theta, w, torch.ones(3, 4, dtype=torch.bool))
    per_item = latent_weights(beta, theta, w, torch.ones(3, 4, 2, dtype=torch.bool))
    assert torch.equal(per_item, per_sample[..., None].expand(3, 4, 2))
