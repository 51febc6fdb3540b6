"""What a stock SimCC head's two axes mean."""

import pytest
import torch
from toys import INPUT_SIZE, JOINTS, build, estimator

from mmkd_classroom.heads import SimCCAdapter


@pytest.fixture(scope='module', params=['simcc', 'smoothed'])
def adapter(request):
    return SimCCAdapter(build(estimator(codec_name=request.param)), 'model.student')


def axes(samples=5):
    return tuple(torch.randn(samples, JOINTS, 2 * size) - 1 for size in INPUT_SIZE)


def test_joints_and_confidences_are_those_of_the_codec(adapter):
    values = axes()
    values[0][0, 0] = -1.0  # no positive value: MMPose sets the joint to -1
    joints, confidences = adapter.decode(values)
    for i in range(5):
        expected, scores = adapter.codec.decode(*(axis[[i]].numpy() for axis in values))
        torch.testing.assert_close(joints[[i]], torch.from_numpy(expected))
        torch.testing.assert_close(confidences[[i]], torch.from_numpy(scores))
    assert joints[0, 0].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_axes_are_decoded_in_float32(adapter, dtype):
    values = tuple(axis.to(dtype) for axis in axes())
    joints, _ = adapter.decode(values)
    assert joints.dtype == torch.float32
    assert torch.equal(joints, adapter.decode(tuple(axis.float() for axis in values))[0])


def test_logits_are_the_axes_with_the_head_s_beta(adapter):
    values = axes()
    beta = 10 if adapter.codec.smoothing_type == 'gaussian' else 1
    prediction = adapter.student_prediction(values)
    for logits, axis in zip(prediction.logits, values, strict=True):
        torch.testing.assert_close(logits, beta * axis)
    heights = [beta * (axis.amax(-1) - axis.amin(-1)) for axis in values]
    torch.testing.assert_close(prediction.peaks, sum(heights) / 2)
