"""A mentor's adapter is what its own preprocessing of the raw image would be."""

import itertools

import pytest
import torch
from mmengine.registry import MODELS

from mmkd_classroom.mentors import InputAdapter, Normalisation, letterbox

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
POSE, CLASSES, PLAIN = 'mmpose.PoseDataPreprocessor', 'mmpretrain.ClsDataPreprocessor', (
    'mmengine.ImgDataPreprocessor'
)  # fmt: skip
PREPROCESSORS = dict(
    pose=dict(type=POSE, mean=MEAN, std=STD, bgr_to_rgb=True),
    pose_rgb_to_bgr=dict(
        type=POSE, mean=[1.0, 20.0, 200.0], std=[60.0, 50.0, 40.0], rgb_to_bgr=True
    ),
    pose_bgr=dict(type=POSE, mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0]),
    pose_raw=dict(type=POSE),
    pose_flip_only=dict(type=POSE, bgr_to_rgb=True),
    classes=dict(type=CLASSES, mean=MEAN, std=STD, to_rgb=True),
    classes_bgr=dict(type=CLASSES, mean=[127.5, 0.0, 1.0], std=[127.5, 255.0, 1.0], to_rgb=False),
    classes_raw=dict(type=CLASSES, to_rgb=False),
    classes_flip_only=dict(type=CLASSES, to_rgb=True),
    plain=dict(type=PLAIN, mean=MEAN[::-1], std=STD[::-1]),
)


def stock(name):
    return MODELS.build(PREPROCESSORS[name])


def preprocess(preprocessor, images):
    from mmpretrain.structures import DataSample

    samples = [DataSample() for _ in images]
    data = preprocessor(dict(inputs=list(images), data_samples=samples), False)['inputs']
    return torch.stack(data) if isinstance(data, (list, tuple)) else data


def by_hand(preprocessor, images):
    """In float64, from the options that the config names."""
    images = images.double()
    if getattr(preprocessor, 'to_rgb', False) or getattr(
        preprocessor, '_channel_conversion', False
    ):
        images = images.flip(1)
    if not preprocessor._enable_normalize:
        return images
    return (images - preprocessor.mean.double()) / preprocessor.std.double()


@pytest.mark.parametrize('student, mentor', list(itertools.product(PREPROCESSORS, repeat=2)))
def test_from_the_student_s_batch_to_the_mentor_s(student, mentor):
    student, mentor = stock(student), stock(mentor)
    images = torch.randint(256, (2, 3, 5, 7), dtype=torch.uint8)
    adapter = InputAdapter(Normalisation.of(student), Normalisation.of(mentor))
    ours = adapter(preprocess(student, images))
    theirs = preprocess(mentor, images)
    expected = by_hand(mentor, images)
    scale = expected.abs().max()  # pixels of 0 to 255 where nothing is normalised
    torch.testing.assert_close(theirs.double(), expected, rtol=0, atol=1e-6 * scale)
    assert (ours.double() - expected).abs().max() < 1e-5 * max(1, scale)


def test_equal_views_are_the_same_tensor():
    adapter = InputAdapter(Normalisation.of(stock('pose')), Normalisation.of(stock('classes')))
    inputs = torch.randn(2, 3, 4, 4)
    assert adapter(inputs) is inputs


def test_a_flip_alone_keeps_the_values():
    same = dict(mean=(1.0, 1.0, 1.0), std=(2.0, 2.0, 2.0))
    adapter = InputAdapter(Normalisation(**same, flips=True), Normalisation(**same, flips=False))
    inputs = torch.randn(2, 3, 4, 4)
    assert torch.equal(adapter(inputs), inputs.flip(1))


def test_the_student_s_batch_is_left_as_it_was():
    adapter = InputAdapter(Normalisation.of(stock('pose')), Normalisation.of(stock('pose_bgr')))
    inputs = torch.randn(2, 3, 4, 4)
    before = inputs.clone()
    assert not torch.equal(adapter(inputs), inputs)
    assert torch.equal(inputs, before)


def test_constants_move_with_the_model():
    adapter = InputAdapter(Normalisation.of(stock('pose')), Normalisation.of(stock('pose_bgr')))
    adapter.apply(lambda tensor: tensor.to(torch.float64))
    assert adapter(torch.randn(1, 3, 2, 2, dtype=torch.float64)).dtype == torch.float64
    adapter.apply(lambda tensor: tensor.to('meta'))
    assert adapter(torch.empty(1, 3, 2, 2, device='meta')).device.type == 'meta'


@pytest.mark.parametrize(
    'student, mentor, cells, expected',
    [
        ((192, 256), (256, 256), (8, 8), (slice(0, 8), slice(1, 7))),  # 32 black columns a side
        ((192, 256), (192, 384), (12, 6), (slice(2, 10), slice(0, 6))),
        ((192, 256), (288, 384), (12, 9), (slice(0, 12), slice(0, 9))),  # nothing is black
        ((192, 256), None, (8, 6), (slice(0, 8), slice(0, 6))),
        ((16, 256), (256, 256), (4, 4), (slice(0, 4), slice(1, 2))),  # at least a cell
    ],
)
def test_of_feature_maps_the_part_that_is_not_black(student, mentor, cells, expected):
    adapter = InputAdapter(Normalisation.of(stock('pose')), Normalisation.of(stock('pose')), mentor)
    maps = torch.randn(2, 3, *cells)
    found = adapter.content(maps, torch.empty(2, 3, student[1], student[0]))
    assert torch.equal(found, maps[(..., *expected)])


def test_channels_are_reversed_as_the_config_says():
    """CIFAR loads RGB and does not reverse it; an ImageNet mentor reverses the BGR of its files."""
    student, mentor = stock('classes_raw'), stock('classes')
    images = torch.randint(256, (2, 3, 5, 7), dtype=torch.uint8)
    adapter = InputAdapter(Normalisation.of(student), Normalisation.of(mentor), flips=False)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(adapter(preprocess(student, images)), (images - mean) / std)
    both = InputAdapter(Normalisation.of(student), Normalisation.of(student), flips=True)
    inputs = preprocess(student, images)
    assert torch.equal(both(inputs), inputs.flip(1))


@pytest.mark.parametrize(
    'ours, theirs, content, offset',
    [
        ((192, 256), (288, 384), (288, 384), (0.25, 0.25)),
        ((288, 384), (192, 256), (192, 256), (-1 / 6, -1 / 6)),
        ((192, 256), (256, 256), (192, 256), (32, 0)),
        ((256, 256), (192, 256), (192, 192), (-0.125, 31.875)),
    ],
)
def test_the_student_s_image_is_laid_into_the_mentor_s(ours, theirs, content, offset):
    found, geometry = letterbox(ours, theirs)
    assert found == content
    assert geometry.offset == pytest.approx(offset)
    plain = Normalisation.of(stock('classes'))
    # A ramp is its own interpolation: each pixel says where in the student's input it lies.
    x = torch.arange(float(ours[0])).expand(ours[1], -1)
    y = torch.arange(float(ours[1]))[:, None].expand(-1, ours[0])
    inputs = torch.stack([x, y, torch.ones_like(x)])[None]
    seen = InputAdapter(plain, plain, theirs)(inputs)[0]
    assert seen.shape == (3, theirs[1], theirs[0])
    inside = seen[2] > 0.99
    assert inside.sum() == content[0] * content[1]
    rows, columns = torch.nonzero(inside, as_tuple=True)
    middle = (rows > rows.min() + 3) & (rows < rows.max() - 3)
    middle &= (columns > columns.min() + 3) & (columns < columns.max() - 3)
    rows, columns = rows[middle], columns[middle]
    for axis, where in ((0, columns), (1, rows)):
        expected = (where - geometry.offset[axis]) / geometry.scale[axis]
        torch.testing.assert_close(seen[axis, rows, columns], expected, rtol=0, atol=0.05)
    black = -plain.mean[2] / plain.std[2]
    torch.testing.assert_close(seen[2][~inside], torch.full_like(seen[2][~inside], black))
