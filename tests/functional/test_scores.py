"""Scores against the tools whose figures they must equal."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmpose.evaluation.functional import keypoint_pck_accuracy
from scipy.special import log_softmax
from scores import oks, pck, true_class_probability
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from mmkd_classroom.functional import (
    at_least_float32,
    correct_keypoints,
    item_weights,
    keypoint_similarity,
    log_likelihood,
)

COCO_SIGMAS = np.array(
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
) / 1000  # fmt: skip
CROWDPOSE_SIGMAS = np.array([79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89, 79, 79]) / 1000


def poses(samples, joints, seed, members=3):
    """Random truths with missing joints, and predictions from exact to far off."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0, 200, (samples, joints, 2))
    spread = generator.choice([0.0, 1.0, 10.0, 60.0], (members, samples, 1, 1))
    prediction = truth + spread * generator.normal(size=(members, samples, joints, 2))
    visible = generator.choice([0.0, 1.0, 2.0], (samples, joints))
    visible[:, 0] = 2  # xtcocotools has a rule of its own for people without a labelled joint
    area = generator.uniform(50, 30000, samples)
    return truth, prediction, visible, area


def coco_oks(truth, prediction, visible, area, sigmas):
    """``(members, samples)`` from a real COCO evaluation: one image a person."""

    def flat(joints, flags):
        return np.concatenate([joints, flags[:, None]], axis=1).ravel().tolist()

    samples, members = len(truth), len(prediction)
    ground_truth = COCO()
    ground_truth.dataset = dict(
        images=[dict(id=i) for i in range(samples)],
        categories=[dict(id=1, name='person')],
        annotations=[
            dict(
                id=i + 1, image_id=i, category_id=1, iscrowd=0, area=float(area[i]),
                bbox=[0, 0, 200, 200], keypoints=flat(truth[i], visible[i]),
                num_keypoints=int((visible[i] > 0).sum()),
            )
            for i in range(samples)
        ],
    )  # fmt: skip
    ground_truth.createIndex()
    results = [
        dict(
            image_id=i, category_id=1, score=1 - 0.1 * m,
            keypoints=flat(prediction[m, i], np.ones(truth.shape[1])),
        )
        for i in range(samples)
        for m in range(members)
    ]  # fmt: skip
    evaluation = COCOeval(
        ground_truth, ground_truth.loadRes(results), 'keypoints', sigmas, use_area=True
    )
    evaluation._prepare()
    return np.stack([evaluation.computeOks(i, 1)[:, 0] for i in range(samples)], axis=1)


@pytest.mark.parametrize('sigmas', [COCO_SIGMAS, CROWDPOSE_SIGMAS], ids=['coco', 'crowdpose'])
@pytest.mark.parametrize('seed', range(3))
def test_oks_is_xtcocotools(sigmas, seed):
    truth, prediction, visible, area = poses(40, len(sigmas), seed)
    expected = coco_oks(truth, prediction, visible, area, sigmas)
    ours = oks(*map(torch.from_numpy, (prediction, truth, visible, area, sigmas)))
    assert 0.05 < expected.mean() < 0.95  # neither all hits nor all misses
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-12)
    in_float32 = oks(
        *(torch.from_numpy(a).float() for a in (prediction, truth, visible, area, sigmas))
    )
    np.testing.assert_allclose(in_float32.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('thr', [0.05, 0.2, 0.5])
@pytest.mark.parametrize('seed', range(3))
def test_pck_is_mmpose(thr, seed):
    truth, prediction, visible, area = poses(40, 14, seed, members=2)
    size = np.sqrt(area)
    expected = [
        [
            keypoint_pck_accuracy(
                member[[i]], truth[[i]], visible[[i]] > 0, thr, np.full((1, 2), size[i])
            )[1]
            for i in range(len(truth))
        ]
        for member in prediction
    ]
    ours = pck(*map(torch.from_numpy, (prediction, truth, visible, size)), thr)
    assert 0.05 < np.mean(expected) < 0.95
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-12)


def test_pck_counts_what_is_nearer_than_the_threshold():
    truth = torch.zeros(1, 3, 2)
    prediction = torch.tensor([[[0.9, 0.0], [1.0, 0.0], [0.0, 1.1]]])
    assert correct_keypoints(prediction, truth, torch.tensor([10.0]), 0.1).tolist() == [[1, 0, 0]]


def test_similarity_of_one_joint_by_hand():
    # d^2 = 25, area = 100, sigma = 0.1: exp(-25 / (2 * 100 * 0.04)) = exp(-3.125)
    value = keypoint_similarity(
        torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1, 2), torch.tensor([100.0]),
        torch.tensor([0.1]),
    )  # fmt: skip
    assert value.item() == pytest.approx(np.exp(-3.125), rel=1e-6)


def test_a_sample_without_labels_scores_zero():
    truth, prediction, visible, area = map(torch.from_numpy, poses(4, 17, 0))
    visible[2] = 0
    scores = oks(prediction, truth, visible, area, torch.from_numpy(COCO_SIGMAS))
    assert scores[:, 2].tolist() == [0, 0, 0]
    assert pck(prediction, truth, visible, area, 0.2)[:, 2].tolist() == [0, 0, 0]
    assert item_weights(visible).sum(-1).tolist() == pytest.approx([1, 1, 0, 1])


@given(st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5), min_size=1))
def test_item_weights_average_the_labelled(visible):
    visible = torch.tensor(visible)  # integers
    weights = item_weights(visible)
    values = torch.arange(5.0)
    for row, flags in zip(weights, visible):
        mean = values[flags > 0].mean().item() if (flags > 0).any() else 0.0
        assert (row * values).sum().item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize('scale', [1.0, 30.0, 1000.0])
def test_log_likelihood_is_the_cross_entropy(scale):
    logits = scale * torch.randn(3, 8, 10, dtype=torch.float64)
    hard = torch.randint(10, (8,))
    soft = torch.rand(8, 10, dtype=torch.float64).softmax(-1)
    reference = log_softmax(logits.numpy(), axis=-1)
    for member in range(3):
        torch.testing.assert_close(
            log_likelihood(logits, hard)[member],
            -F.cross_entropy(logits[member], hard, reduction='none'),
        )
        torch.testing.assert_close(
            log_likelihood(logits, soft)[member],
            -F.cross_entropy(logits[member], soft, reduction='none'),
        )
    picked = reference[:, np.arange(8), hard.numpy()]
    np.testing.assert_allclose(log_likelihood(logits, hard).numpy(), picked, rtol=1e-12)
    np.testing.assert_allclose(
        true_class_probability(logits, hard).numpy(), np.exp(picked), rtol=1e-9
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits = (8 * torch.randn(6, 10)).to(dtype)
    target = torch.randint(10, (6,))
    score = true_class_probability(logits, target)
    assert score.dtype == torch.float32
    assert torch.equal(score, true_class_probability(logits.float(), target))
    assert at_least_float32(logits.double()).dtype == torch.float64


@pytest.mark.parametrize('winner', [True, False])
def test_extreme_logits_stay_in_range(winner):
    logits = torch.zeros(1, 4)
    logits[0, 0] = 1e4
    target = torch.tensor([0 if winner else 1])
    assert true_class_probability(logits, target).item() == float(winner)
