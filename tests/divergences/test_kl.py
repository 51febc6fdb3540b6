"""Hinton's divergence on the distributions of each head."""

import pytest
import torch

from mmkd_classroom.divergences import KLDivergence
from mmkd_classroom.functional import kl_divergence
from mmkd_classroom.structures import Prediction

N, K = 3, 5


# Shape of an item's values, logits per unit, and scales.
HEADS = dict(
    classes=([(1, 4)], 1.0, (1.0,)),
    heatmaps=([(K, 6, 4)], 7.0, (1 / 24,)),
    axes=([(K, 8), (K, 12)], 10.0, (N / 8, N / 12)),
)


def predictions(head):
    """The student's and a mentor's."""
    shapes, factor, scales = HEADS[head]
    valid = torch.ones(N, shapes[0][0], dtype=torch.bool)
    return [
        Prediction(tuple(torch.randn(N, *shape) for shape in shapes), factor, scales, valid)
        for _ in range(2)
    ]


@pytest.mark.parametrize('student_temperature', [None, 1.5])
@pytest.mark.parametrize('head', HEADS)
def test_it_is_the_scaled_sum_over_the_distributions_of_an_item(head, student_temperature):
    student, mentor = predictions(head)
    tau = 1 + torch.rand(N, 1)
    value = KLDivergence()(student, mentor, None, tau, student_temperature)
    assert value.shape == student.valid.shape
    for i, k in torch.cartesian_prod(torch.arange(N), torch.arange(value.shape[1])):
        expected = sum(
            scale * kl_divergence(
                student.factor * ours[i, k].flatten(), student.factor * theirs[i, k].flatten(),
                tau[i, 0], student_temperature,
            )
            for scale, ours, theirs in zip(student.scales, student.values, mentor.values)
        )  # fmt: skip
        torch.testing.assert_close(value[i, k], expected)


def test_one_temperature_serves_all():
    student, mentor = predictions('axes')
    expected = KLDivergence()(student, mentor, None, torch.full((N, K), 2.0))
    for tau in (2.0, torch.tensor(2.0), torch.full((1, 1), 2.0)):
        torch.testing.assert_close(KLDivergence()(student, mentor, None, tau), expected)


def test_on_simcc_it_is_a_stock_loss_of_that_target():
    """With the mentor's own distribution as labels, KLDiscretLoss gives the same number."""
    from mmpose.models.losses import KLDiscretLoss

    student, mentor = predictions('axes')
    stock = KLDiscretLoss(beta=10.0, use_target_weight=False)
    targets = tuple((10 * axis).softmax(-1) for axis in mentor.values)
    ours = KLDivergence()(student, mentor, None, 1.0).mean()
    torch.testing.assert_close(ours, stock(student.values, targets, None))


def test_logits_that_carry_the_factor_and_half_precision_are_the_same():
    student, mentor = predictions('heatmaps')
    expected = KLDivergence()(student, mentor, None, 3.0)
    sharp = [
        Prediction((7 * one.values[0],), 1.0, one.scales, one.valid) for one in (student, mentor)
    ]
    torch.testing.assert_close(KLDivergence()(*sharp, None, 3.0), expected)
    half = [
        Prediction((one.values[0].half(),), 7.0, one.scales, one.valid) for one in (student, mentor)
    ]
    value = KLDivergence()(*half, None, 3.0)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-2, atol=1e-4)
