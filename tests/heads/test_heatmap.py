"""What a stock head's heatmaps mean: the joints that they show, and of what size they must be."""

from functools import cache

import numpy as np
import pytest
import torch
from mmengine.config import Config
from toys import HEATMAP_SIZE, INPUT_SIZE, JOINTS, build, codec, estimator

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import HeatmapAdapter, build_adapter, mentor_adapter

CODECS = ['msra', 'dark', 'udp']


@cache
def adapter_of(name, **options):
    return HeatmapAdapter(build(estimator(codec_name=name)), 'model.student', **options)


def decoded(name, maps):
    """Joints ``(N, K, 2)`` of NumPy heatmaps."""
    return adapter_of(name).decode((torch.from_numpy(maps),))[0].numpy()


def encoded(name, count, margin=0.0):
    """Heatmaps that a codec drew of joints anywhere in the input, and these joints."""
    generator = np.random.default_rng(0)
    size = np.array(INPUT_SIZE) - 1
    joints = generator.uniform(margin, 1 - margin, (count, JOINTS, 2)) * size
    encode = adapter_of(name).codec.encode
    maps = np.stack([encode(one[None].astype(np.float32))['heatmaps'] for one in joints])
    maps = maps * generator.uniform(0.2, 1, (count, JOINTS, 1, 1))
    return maps.astype(np.float32), joints


def noisy(maps, level):
    return (maps + level * np.random.default_rng(1).normal(size=maps.shape)).astype(np.float32)


def stock_decode(name, maps):
    """MMPose's decoding, in the space of the joints that it encodes."""
    joints = np.stack([adapter_of(name).codec.decode(one)[0][0] for one in maps])
    # UDP encodes from [0, W - 1] and decodes to [0, W].
    size = np.array(INPUT_SIZE)
    return joints * (size - 1) / size if name == 'udp' else joints


# --- joints -------------------------------------------------------------------------------------


def test_msra_is_decoded_to_the_bit():
    maps, _ = encoded('msra', 40)
    for level in (0.0, 0.05, 1.0):
        found = noisy(maps, level)
        expected = stock_decode('msra', found).astype(np.float32)
        np.testing.assert_array_equal(decoded('msra', found), expected)


@pytest.mark.parametrize('name, tolerance', [('dark', 0.05), ('udp', 0.01)])
def test_dark_and_udp_are_decoded_as_by_mmpose(name, tolerance):
    """In pixels; near the border stock DARK does not refine, and UDP's steps are unbounded."""
    maps = noisy(encoded(name, 40, margin=0.15)[0], 0.002)
    assert np.abs(decoded(name, maps) - stock_decode(name, maps)).max() < tolerance
    maps, _ = encoded(name, 40)  # anywhere: at most two cells of 4 pixels
    difference = np.abs(decoded(name, maps) - stock_decode(name, maps))
    assert difference.max() < 8 and np.median(difference) < tolerance


@pytest.mark.parametrize('name, precision', [('msra', 3.1), ('dark', 0.05), ('udp', 0.05)])
def test_decoding_undoes_encoding(name, precision):
    """In pixels; MSRA's plain coding is good to the quarter of a cell at best."""
    maps, joints = encoded(name, 40, margin=0.4)
    difference = decoded(name, maps) - joints
    assert np.abs(difference).max() < precision
    assert np.abs(difference.mean(axis=(0, 1))).max() < (0.01 if name != 'msra' else 0.5)


@pytest.mark.parametrize('name', CODECS)
def test_the_confidence_is_the_codec_s_score(name):
    maps = noisy(encoded(name, 4)[0], 0.1)
    expected = np.stack([adapter_of(name).codec.decode(one)[1][0] for one in maps])
    _, confidences = adapter_of(name).decode((torch.from_numpy(maps),))
    np.testing.assert_array_equal(confidences.numpy(), expected)


@pytest.mark.parametrize('name', CODECS)
def test_a_map_without_a_positive_value_shows_no_joint(name):
    maps, _ = encoded(name, 1)
    maps[0, 3] = -maps[0, 3] - 0.1
    maps[0, 5] = 0
    (ours,) = decoded(name, maps)
    for joint in (3, 5):
        np.testing.assert_allclose(ours[joint], -adapter_of(name).codec.scale_factor)
    assert (np.delete(ours, [3, 5], axis=0) > -1).all()
    if name == 'msra':
        np.testing.assert_array_equal(ours, stock_decode(name, maps)[0].astype(np.float32))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_heatmaps_are_decoded_in_float32(dtype):
    maps = torch.rand(3, JOINTS, *HEATMAP_SIZE[::-1]).to(dtype)
    joints, _ = adapter_of('dark').decode((maps,))
    assert joints.dtype == torch.float32
    assert torch.equal(joints, adapter_of('dark').decode((maps.float(),))[0])


@pytest.mark.parametrize('name', ['dark', 'udp'])
def test_joints_are_decoded_in_full_precision_under_amp(name):
    maps = torch.rand(2, 3, *HEATMAP_SIZE[::-1])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        joints, _ = adapter_of(name).decode((maps,))
    torch.testing.assert_close(joints, adapter_of(name).decode((maps,))[0], rtol=0, atol=1e-4)


# --- distributions ------------------------------------------------------------------------------


def test_logits_are_the_sharpened_cells_of_each_joint():
    maps = torch.rand(3, JOINTS, *HEATMAP_SIZE[::-1])
    prediction = adapter_of('msra', sharpness=7.0).student_prediction(maps)
    assert torch.equal(prediction.logits[0], 7 * maps.flatten(2))
    torch.testing.assert_close(prediction.peaks, 7 * maps.amax(dim=(-2, -1)))
    assert prediction.scale == 1 / (HEATMAP_SIZE[0] * HEATMAP_SIZE[1])


# --- sizes --------------------------------------------------------------------------------------


def test_a_head_of_another_size_than_its_codec_s_is_named_before_training():
    """Found on a copy without values: the model is as it was."""
    model = build(estimator(decoder=dict(codec(), heatmap_size=(32, 48))))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = (
        r'head gives 16 x 24 cells .* codec MSRAHeatmap is for 32 x 48, from an input of 64 x 96'
        r'.*Correct input_size or heatmap_size of '
    )
    with pytest.raises(ClassroomError, match=r'^model\.student\.' + message + 'model.student.head'):
        build_adapter(model)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[2\]\.' + message):
        mentor_adapter(model, adapter_of('msra'), 'model.mentors[2]', Config())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_size_that_only_training_shows_is_named_there():
    """The pipeline feeds another size than the codec's, or a model needs values to be run."""
    adapter = adapter_of('msra')
    with pytest.raises(ClassroomError, match=r'model\.student\.head gives 16 x 12 cells'):
        adapter.student_prediction(torch.rand(2, JOINTS, 12, 16))
    mentor = mentor_adapter(build(estimator(16)), adapter, 'model.mentors[2]', Config())
    with pytest.raises(ClassroomError, match=r'model\.mentors\[2\]\.head gives 8 x 24 cells'):
        adapter.output_adapter(mentor)(torch.rand(2, JOINTS, 24, 8))
