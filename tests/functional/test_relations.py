"""RKD's potentials and hints against the released code's values and slow direct forms."""

import pytest
import torch
import torch.nn.functional as F
from goldens import CASES, golden
from hypothesis import given
from hypothesis import strategies as st

from mmkd_classroom.functional import (
    hint_distance,
    relation_angle_loss,
    relation_angles,
    relation_distance_loss,
    relation_distances,
    squared_distances,
)

LOSSES = dict(angle=relation_angle_loss, distance=relation_distance_loss)


def everything(embeddings):
    return torch.ones(embeddings.shape[:2], dtype=torch.bool)


def differences(x, valid):
    """``(N, N, K * D)``: what the definition starts from, zero where an item is not in both."""
    both = (valid[:, None] & valid[None]).unsqueeze(-1)
    return torch.where(both, x[:, None] - x[None], 0.0).flatten(2)


def slow_distances(x, valid):
    length = differences(x, valid).norm(dim=2)
    return length / length[length > 0].mean()


def slow_angles(x, valid):
    unit = F.normalize(differences(x, valid), dim=2)
    return torch.einsum('jid,jkd->jik', unit, unit)


def scene(seed, samples=6, items=3, size=4):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, items, size, dtype=torch.float64, generator=generator)
    valid = torch.rand(samples, items, generator=generator) > 0.3
    valid[0] = True
    return x, valid


@pytest.mark.parametrize('kind', LOSSES)
@pytest.mark.parametrize('case', CASES)
def test_losses_are_those_of_the_released_code(case, kind):
    values = golden(case)
    target = values['amtml_T5_target'][:, None]
    logits = values['student_logits'][:, None]
    for name, student in [('', (logits / 5).log_softmax(-1)), ('_on_logits', logits)]:
        loss = LOSSES[kind](student, target, everything(target))
        expected = values[f'amtml_{kind}{name}_loss'].item()
        assert loss.item() == pytest.approx(expected, rel=0, abs=1e-9)
        assert expected > 1e-3  # far from what is tolerated


@given(st.integers(0, 10**6))
def test_potentials_are_their_definition(seed):
    x, valid = scene(seed)
    for ours, slow in [
        (relation_distances, slow_distances),
        (relation_angles, slow_angles),
    ]:
        torch.testing.assert_close(ours(x, valid), slow(x, valid), rtol=0, atol=1e-12)


@pytest.mark.parametrize('kind', LOSSES)
def test_gradients_are_those_of_the_definition(kind):
    x, valid = scene(1)
    target = torch.rand(6, 3, 5, dtype=torch.float64)
    slow = dict(angle=slow_angles, distance=slow_distances)[kind]
    for labelled in (valid, everything(x)):
        ours, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
        LOSSES[kind](ours, target, labelled).backward()
        F.smooth_l1_loss(slow(reference, labelled), slow(target, labelled)).backward()
        torch.testing.assert_close(ours.grad, reference.grad, rtol=0, atol=1e-12)
        assert ours.grad.abs().max() > 1e-4
        assert (ours.grad[~labelled] == 0).all()  # what has no label gets no gradient


@pytest.mark.parametrize('kind', LOSSES)
def test_gradients_are_those_of_finite_differences(kind):
    x, valid = scene(2, samples=4)
    target = torch.rand(4, 3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: LOSSES[kind](z, target, valid), x.requires_grad_(), atol=1e-6
    )


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-5, 5))
def test_potentials_ignore_size_and_place(seed, size, shift):
    x, valid = scene(seed)
    for potential in (relation_distances, relation_angles):
        moved = potential(size * x + shift, valid)
        torch.testing.assert_close(moved, potential(x, valid), rtol=0, atol=1e-6)


@given(st.integers(0, 10**6))
def test_an_unlabelled_item_does_not_count(seed):
    x, valid = scene(seed)
    other = torch.where(valid[..., None], x, 100 * torch.randn_like(x))
    for potential in (relation_distances, relation_angles):
        torch.testing.assert_close(potential(other, valid), potential(x, valid), atol=1e-8, rtol=0)
        if not valid.all():
            changed = potential(other, everything(x)) - potential(x, everything(x))
            assert changed.abs().max() > 1e-3


@given(st.integers(0, 10**6))
def test_angles_are_cosines(seed):
    angles = relation_angles(*scene(seed))
    assert angles.abs().max() <= 1 + 1e-9
    torch.testing.assert_close(angles, angles.transpose(1, 2))  # i and k may change places


@pytest.mark.parametrize('kind', LOSSES)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    'make',
    [
        lambda: torch.zeros(4, 1, 3),  # all samples equal
        lambda: torch.randn(1, 1, 3).repeat(4, 1, 1),
        lambda: torch.randn(2, 1, 3)[[0, 0, 1, 1]],  # twins
        lambda: torch.randn(1, 1, 3),  # one sample
    ],
    ids=['zero', 'equal', 'twins', 'one'],
)
def test_no_distance_is_no_fault(kind, dtype, make):
    student = make().to(dtype).requires_grad_()
    target = torch.rand(len(student), 1, 5)
    loss = LOSSES[kind](student, target, everything(student))
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()
    assert LOSSES[kind](target, student.detach(), everything(student)).isfinite()


def test_nothing_labelled_is_no_fault():
    x = torch.randn(3, 2, 4, requires_grad=True)
    for loss in LOSSES.values():
        value = loss(x, torch.rand(3, 2, 5), torch.zeros(3, 2, dtype=torch.bool))
        value.backward()
        assert value == 0 and (x.grad == 0).all()


def test_close_samples_far_from_zero_keep_their_distances_in_float32():
    """Where inner products in float32 would leave nothing but rounding."""
    x = torch.randn(5, 1, 3000, dtype=torch.float64)
    far = (1000 + x).float()
    expected = torch.cdist(far[:, 0].double(), far[:, 0].double()).square()
    torch.testing.assert_close(squared_distances(far)[0].double(), expected, rtol=1e-5, atol=0)


def test_autocast_changes_nothing():
    x, valid = scene(3)
    x, target = x.float(), torch.rand(6, 3, 5)
    for loss in LOSSES.values():
        expected = loss(x, target, valid)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert torch.equal(loss(x, target, valid), expected)


@pytest.mark.parametrize('case', CASES)
def test_hint_is_that_of_the_released_code(case):
    values = golden(case)
    ours = hint_distance(values['hint_student'], values['hint_mentor'], values['hint_weight'])
    assert ours.shape == (len(values['labels']),)
    assert ours.mean().item() == pytest.approx(values['hint_loss'].item(), rel=0, abs=1e-9)


def test_hint_without_normalisation_is_a_mean_squared_difference():
    student, mentor = torch.randn(3, 4, 5, 6).double(), torch.randn(3, 2, 5, 6).double()
    weight, bias = torch.randn(2, 4, 1, 1).double(), torch.randn(2).double()
    ours = hint_distance(student, mentor, weight, bias, normalise=False)
    for i in range(3):
        regressed = torch.einsum('mc,chw->mhw', weight[:, :, 0, 0], student[i])
        expected = F.mse_loss(regressed + bias[:, None, None], mentor[i])
        torch.testing.assert_close(ours[i], expected)


@pytest.mark.parametrize('size', [(2, 3), (8, 12), (5, 5)])
def test_hint_aligns_other_sizes(size):
    """A mentor's constant map stays what it is at any size; the student's map keeps its own."""
    student = torch.randn(2, 3, 4, 6, requires_grad=True)
    weight = torch.randn(5, 3, 1, 1)
    channels = torch.randn(2, 5, 1, 1)
    there = hint_distance(student, channels.expand(2, 5, *size), weight)
    here = hint_distance(student, channels.expand(2, 5, 4, 6), weight)
    torch.testing.assert_close(there, here)
    there.sum().backward()
    assert student.grad.isfinite().all() and student.grad.abs().max() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_hint_of_half_precision_is_computed_in_float32(dtype):
    student, mentor = torch.randn(2, 3, 4, 4).to(dtype), torch.randn(2, 5, 8, 8).to(dtype)
    weight, bias = torch.randn(5, 3, 1, 1), torch.randn(5)
    ours = hint_distance(student, mentor, weight, bias)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, hint_distance(student.float(), mentor.float(), weight, bias))
    # A whole model in half precision has the convolution in it too.
    of_half = hint_distance(student, mentor, weight.to(dtype), bias.to(dtype))
    assert of_half.dtype == torch.float32
    torch.testing.assert_close(of_half, ours, rtol=0.02, atol=0.02)


def test_hint_of_empty_channels_gives_them_no_gradient():
    """Behind a ReLU whole cells are zero."""
    student = torch.rand(2, 3, 4, 4)
    student[:, :, 1] = 0
    student.requires_grad_()
    hint_distance(student, torch.rand(2, 5, 4, 4), torch.randn(5, 3, 1, 1)).sum().backward()
    assert student.grad[:, :, 1].abs().max() == 0
    assert 0 < student.grad.abs().max() < 10


@pytest.mark.parametrize('items', [1, 3])
@pytest.mark.parametrize('kind', LOSSES)
def test_own_samples_are_part_of_the_whole(kind, items):
    x, valid = scene(0, items=items)
    y, _ = scene(1, items=items)
    whole = LOSSES[kind](x, y, valid)
    parts = [LOSSES[kind](x, y, valid, slice(first, first + 2)) for first in (0, 2, 4)]
    torch.testing.assert_close(sum(parts) / 3, whole, rtol=0, atol=1e-14)
    assert len({part.item() for part in parts}) == 3
