"""A mentor's prediction in the student's form is the same joint, whatever head, grid and input.

A mentor draws its peak at a random joint; the student's form must decode the converted prediction
to that joint. ``docs/mixed_classrooms.md`` has the figures, from this file run as a script.
"""

import itertools
from functools import cache

import pytest
import torch
from toys import build, codec, estimator, packed, person

from mmkd_classroom.heads import KeypointAdapter, SimCCAdapter, build_adapter
from mmkd_classroom.heads.conversion import build_conversion
from mmkd_classroom.mentors.input_adapter import letterbox
from mmkd_classroom.structures import Letterbox

SIZES = [(192, 256), (288, 384), (256, 256)]
SAME = Letterbox()
KINDS = ['msra', 'dark', 'udp', 'simcc', 'smoothed']
JOINTS = 400


@cache
def adapter(kind: str, size: tuple[int, int] = SIZES[0], **options) -> KeypointAdapter:
    """As in MMPose's configs for that input size."""
    decoder = codec(kind, size)
    if kind == 'simcc':
        decoder['sigma'] = (4.9 * size[0] / 192, 5.66 * size[1] / 256)
    elif kind != 'smoothed':
        large = size[1] > 256
        decoder.update(sigma=3 if large else 2, blur_kernel_size=17 if large else 11)
    return build_adapter(build(estimator(4, kind, size, decoder=decoder)), options)


def encoded(adapter, joints):
    """What a mentor that knows the joints ``(N, K, 2)``, in its input, would say."""
    centres = [joints[..., axis] / adapter.spacing[axis] for axis in (0, 1)]
    cells = [torch.arange(count) for count in adapter.cells]
    is_simcc = isinstance(adapter, SimCCAdapter)
    if is_simcc and adapter.codec.smoothing_type == 'standard':
        axes = []
        for centre, cell in zip(centres, cells):
            peak = cell == centre.round().long()[..., None]
            p = torch.where(peak, 0.9, 0.1 / (len(cell) - 1))
            axes.append(p.log() - p.log().amin())
        return tuple(axes)
    sigmas = adapter.codec.sigma if is_simcc else (adapter.sigma,) * 2
    x, y = (
        torch.exp(-(cell - centre[..., None]).square() / (2 * sigma**2)).float()
        for centre, cell, sigma in zip(centres, cells, sigmas)
    )
    return (x, y) if is_simcc else (y[..., :, None] * x[..., None, :],)


def errors(mentor, student, sizes, count=JOINTS):
    """Greatest distance along an axis of each joint after the conversion, in student's pixels."""
    theirs, ours = adapter(mentor, sizes[0]), adapter(student, sizes[1])
    place = letterbox(sizes[1], sizes[0])[1]
    generator = torch.Generator().manual_seed(0)
    # The codecs' own refinement fails near the border, where it has no neighbourhood.
    joints = 0.16 + 0.68 * torch.rand(count // 20, 20, 2, generator=generator).double()
    joints = joints * torch.tensor(sizes[1])
    scale, offset = (torch.tensor(pair).double() for pair in (place.scale, place.offset))
    converted = build_conversion(theirs, ours, place)(
        encoded(theirs, joints * scale + offset), None
    )
    return (ours.decode(converted)[0] - joints).abs().amax(dim=-1)


def limit(mentor, student, sizes):
    """Half a pixel less than the codecs lose on their own, and at most a quarter from ours."""
    zoom = min(ours / theirs for ours, theirs in zip(*sizes[::-1]))
    rounding = {'msra': 1.0, 'simcc': 0.25, 'smoothed': 0.25}  # of the student's decoding
    own = 0.25 * max(zoom, 1.0) * 1.5 if mentor == 'smoothed' else 0.0  # the mentor's bins
    return rounding.get(student, 0.0) + own + 0.02


@pytest.mark.parametrize('sizes', [*itertools.product(SIZES, repeat=2)])
@pytest.mark.parametrize('mentor, student', [*itertools.product(KINDS, repeat=2)])
def test_the_joint_stays_where_it_is(mentor, student, sizes):
    assert errors(mentor, student, sizes).max() <= limit(mentor, student, sizes)


@pytest.mark.parametrize('kind', KINDS)
def test_the_same_form_is_left_alone(kind):
    values = encoded(adapter(kind), 50 * torch.rand(2, 3, 2).double())
    conversion = build_conversion(adapter(kind), adapter(kind), SAME)
    assert conversion.is_identity and conversion(values, None) is values


def test_udp_and_msra_cells_differ_though_the_sizes_are_equal():
    assert not build_conversion(adapter('udp'), adapter('msra'), SAME).is_identity


def test_marginals_are_those_of_the_map_s_distribution():
    maps = torch.rand(2, 3, 64, 48)
    x, y = build_conversion(adapter('dark'), adapter('smoothed', sharpness=20.0), SAME)(
        (maps,), None
    )
    p = (20 * maps).flatten(2).softmax(-1).view_as(maps)
    # Bin 8 j of SimCC lies on cell j of the map.
    for axis, marginal in ((x, p.sum(-2)), (y, p.sum(-1))):
        read = axis[..., ::8].log_softmax(-1)
        torch.testing.assert_close(read, marginal.log().log_softmax(-1), rtol=0, atol=1e-4)


def test_the_outer_product_is_the_expected_map_of_the_student_s_codec():
    mentor, student = adapter('simcc'), adapter('udp')
    x, y = (torch.randn(1, 2, cells) for cells in mentor.cells)
    (maps,) = build_conversion(mentor, student, SAME)((x, y), None)
    p = (10 * y).softmax(-1)[..., :, None] * (10 * x).softmax(-1)[..., None, :]
    expected = torch.zeros_like(maps)
    rows, columns = torch.arange(64.0)[:, None], torch.arange(48.0)[None]
    for j, i in itertools.product(range(0, 512), range(0, 384)):
        if p[..., j, i].max() < 1e-7:
            continue
        centre_x, centre_y = i * 0.5 / (191 / 47), j * 0.5 / (255 / 63)
        square = (columns - centre_x) ** 2 + (rows - centre_y) ** 2
        expected += p[..., j, i, None, None] * torch.exp(-square / 8)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-4)


def test_an_unsure_mentor_gives_a_low_map():
    sure = encoded(adapter('simcc'), torch.tensor([[[96.0, 128.0]]]).double())
    conversion = build_conversion(adapter('simcc'), adapter('dark'), SAME)
    assert conversion(sure, None)[0].max() > 0.95
    assert conversion(tuple(0 * axis for axis in sure), None)[0].max() < 0.02


@pytest.mark.parametrize('sizes', [*itertools.product(SIZES, repeat=2)])
def test_narrow_heatmaps_are_widened_to_those_of_the_student(sizes):
    """An unsure mentor's map is the mean over the places where the joint may be."""
    decoder = dict(codec('msra', sizes[0]), sigma=1.2)
    mentor = build_adapter(build(estimator(4, 'msra', sizes[0], decoder=decoder)))
    student = adapter('msra', sizes[1])
    place = letterbox(sizes[1], sizes[0])[1]
    spread = 12 * torch.randn(1, 50, 2).double()
    there = torch.tensor(sizes[1]) / 2 + spread.where(
        spread.abs() < 30, 0
    )  # in the student's input
    theirs = there * torch.tensor(place.scale) + torch.tensor(place.offset)
    seen = encoded(mentor, theirs)[0].mean(dim=1, keepdim=True)
    (maps,) = build_conversion(mentor, student, place)((seen,), None)
    expected = student.encode(there)[0].mean(dim=1, keepdim=True)
    torch.testing.assert_close(maps.double(), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize('place', [0.0, 1.0, 2.5, 45.0, 46.4, 47.0])
def test_a_widened_label_at_the_border_keeps_its_height_and_place(place):
    decoder = dict(codec('msra', SIZES[0]), sigma=1.0)
    mentor = build_adapter(build(estimator(4, 'msra', SIZES[0], decoder=decoder)))
    student = adapter('msra', SIZES[0])
    joint = torch.tensor([[[place, 30.0]]]).double() * torch.tensor(mentor.spacing)
    convert = build_conversion(mentor, student, SAME)
    assert convert.note == ' (widened)'
    (maps,), (expected,) = convert(encoded(mentor, joint), None), student.encode(joint)
    assert maps.max().item() == pytest.approx(expected.max().item(), abs=0.05)
    found, wanted = ((50 * m).flatten(2).softmax(-1).view(64, 48).sum(0) for m in (maps, expected))
    columns = torch.arange(48.0).double()
    assert (found * columns).sum() == pytest.approx((wanted * columns).sum().item(), abs=0.25)


@pytest.mark.parametrize('sigma', [1.0, 1.4, 1.8])
def test_widened_labels_are_those_of_the_student(sigma):
    """To the figures in docs/mixed_classrooms.md, for labels anywhere."""
    decoder = dict(codec('msra', SIZES[0]), sigma=sigma)
    mentor = build_adapter(build(estimator(4, 'msra', SIZES[0], decoder=decoder)))
    student, edge = adapter('msra', SIZES[0]), torch.tensor([47.0, 63.0]).double()
    cells = torch.rand(400, 1, 2).double() * edge
    joints = cells * torch.tensor(mentor.spacing)
    (maps,) = build_conversion(mentor, student, SAME)(encoded(mentor, joints), None)
    error = (maps.double() - student.encode(joints)[0]).abs().amax(dim=(1, 2, 3))
    inside = ((cells > 6) & (cells < edge - 6)).all(dim=-1)[:, 0]
    assert error.max() < 0.08 and error[inside].max() < 0.03  # of both axes together


def test_wider_heatmaps_on_the_same_cells_are_left_alone():
    decoder = dict(codec('msra', SIZES[0]), sigma=3.0)
    mentor = build_adapter(build(estimator(4, 'msra', SIZES[0], decoder=decoder)))
    assert build_conversion(mentor, adapter('msra'), SAME).is_identity


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_in_float32(dtype):
    (maps,) = encoded(adapter('dark'), 60 + 50 * torch.rand(2, 3, 2).double())
    maps = maps.to(dtype)
    conversion = build_conversion(adapter('dark'), adapter('simcc'), SAME)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        x, _ = conversion((maps,), None)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, conversion((maps.float(),), None)[0])


def test_the_training_labels_of_a_joint_are_converted_to_each_other():
    """Through the stock codecs and a stock pipeline: MSRA and SimCC labels of one person."""
    size = (64, 96)
    record = packed(person(3))['data_samples']
    joints = torch.from_numpy(record.gt_instances.transformed_keypoints).double()
    labels = encoded(adapter('simcc', size), joints)
    maps = build_conversion(adapter('simcc', size), adapter('dark', size), Letterbox())(
        labels, None
    )
    inside = ((joints > 14) & (joints < torch.tensor(size) - 14)).all(-1)
    assert inside.sum() > 3
    difference = adapter('dark', size).decode(maps)[0] - joints
    assert difference[inside].abs().max() < 0.02


if __name__ == '__main__':
    print('| mentor -> student | ' + ' | '.join(KINDS) + ' |')
    for mentor in KINDS:
        row = []
        for student in KINDS:
            worst = torch.cat(
                [errors(mentor, student, s, 4000) for s in itertools.product(SIZES, repeat=2)]
            )
            row.append(f'{worst.mean():.3f} ({worst.max():.3f})')
        print(f'| {mentor} | ' + ' | '.join(row) + ' |')
