"""Records: exact where they promise it, close where they do not."""

from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from toys import CODECS, INPUT_SIZE, build, estimator, pose_batch

from mmkd_classroom.cache.record_format import RecordFormat
from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.heads import build_adapter, mentor_adapter
from mmkd_classroom.mentors.input_adapter import letterbox
from mmkd_classroom.structures import MentorOutput


def classes(samples=4, count=10, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(samples, 1, count, generator=generator)
    return MentorOutput((logits.to(dtype),), torch.ones(samples, dtype=torch.bool))


def heatmaps(samples=4, joints=5):
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing='ij')
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(samples, joints, 2, generator=generator) * torch.tensor([40.0, 56.0]) + 4
    squared = (x - centres[..., 0, None, None]) ** 2 + (y - centres[..., 1, None, None]) ** 2
    maps = (-squared / 8).exp() + 0.02 * torch.rand(squared.shape, generator=generator)
    finite = torch.tensor([True, True, False, True])
    return MentorOutput((maps,), finite, 4 * centres, maps.amax((-2, -1)))


def simcc(samples=4, joints=5):
    generator = torch.Generator().manual_seed(0)
    axes = [torch.randn(samples, joints, n, generator=generator) for n in (384, 512)]
    joints_at = torch.rand(samples, joints, 2, generator=generator)
    return MentorOutput(
        tuple(axes), torch.ones(samples, dtype=torch.bool), joints_at, joints_at[..., 0]
    )


def format_of(output, *options):
    return RecordFormat(
        **RecordFormat.shape_of(output), **dict(zip(('factor', 'precision', 'cells'), options))
    )


@pytest.mark.parametrize('make', [classes, heatmaps, simcc])
def test_dense_float32_is_exact(make):
    output = make()
    record_format = format_of(output, 50.0, 'fp32')
    packed = record_format.pack(output)
    assert packed.dtype == torch.uint8 and packed.shape == (4, record_format.size)
    again = record_format.unpack(packed)
    for ours, theirs in zip(again.values, output.values):
        assert torch.equal(ours, theirs)
    assert torch.equal(again.finite, output.finite)
    if output.joints is not None:
        assert torch.equal(again.joints, output.joints)
        assert torch.equal(again.confidences, output.confidences)


@pytest.mark.parametrize('make', [heatmaps, simcc])
@pytest.mark.parametrize('precision', ['fp16', 'fp32'])
@pytest.mark.parametrize('cells', [8, 32])
def test_joints_and_confidences_are_exact_in_every_form(make, precision, cells):
    output = make()
    record_format = format_of(output, 50.0, precision, cells)
    again = record_format.unpack(record_format.pack(output))
    assert torch.equal(again.joints, output.joints)
    assert torch.equal(again.confidences, output.confidences)
    assert torch.equal(again.finite, output.finite)


@pytest.mark.parametrize('make', [classes, heatmaps, simcc])
def test_the_rest_keeps_its_share_of_the_softmax(make):
    output, factor = make(), 10.0
    record_format = format_of(output, factor, 'fp32', 8)
    again = record_format.unpack(record_format.pack(output))
    for ours, theirs in zip(again.values, output.values):
        p = (factor * theirs.flatten(2)).softmax(-1)
        q = (factor * ours.flatten(2)).softmax(-1)
        top = p.topk(8).indices
        torch.testing.assert_close(q.gather(-1, top), p.gather(-1, top), rtol=1e-4, atol=1e-6)
        assert (ours.flatten(2).argmax(-1) == theirs.flatten(2).argmax(-1)).all()


def test_the_rest_is_that_of_the_student_s_sharpness():
    model = MultiMentorDistiller(
        student=build(estimator()),
        mentors=[dict(checkpoint=None, config=dict(model=estimator()))],
        adapter=dict(sharpness=10.0),
    )
    (mentor,) = model.mentors
    output = mentor.output(pose_batch(2)[0])
    generator = torch.Generator().manual_seed(0)  # instead of the flat maps of random weights
    maps = [torch.rand(values.shape, generator=generator) ** 4 for values in output.values]
    output = replace(output, values=tuple(maps))
    record_format = format_of(output, mentor.output_adapter.factor, 'fp32', 8)
    p, q = (
        mentor.output_adapter.predict(given).logits[0].softmax(-1)
        for given in (output, record_format.unpack(record_format.pack(output)))
    )
    top = p.topk(8).indices
    torch.testing.assert_close(q.gather(-1, top), p.gather(-1, top), rtol=1e-4, atol=1e-6)


def test_sparse_heatmaps_are_small_and_close():
    output = heatmaps()
    record_format = format_of(output, 50.0, 'fp16', 32)
    assert record_format.size == 5 * (32 * 4 + 2 + 12) + 1
    (maps,), (again,) = output.values, record_format.unpack(record_format.pack(output)).values
    kl = torch.nn.functional.kl_div(
        (50 * again).flatten(2).log_softmax(-1), (50 * maps).flatten(2).log_softmax(-1),
        reduction='none', log_target=True,
    ).sum(-1)  # fmt: skip
    assert kl.max() < 1e-3


def test_many_cells_take_wider_indices():
    output = MentorOutput((torch.randn(2, 1, 40_000),), torch.ones(2, dtype=torch.bool))
    record_format = format_of(output, 1.0, 'fp32', 5)
    again = record_format.unpack(record_format.pack(output)).values[0]
    assert torch.equal(again.topk(5).indices, output.values[0].topk(5).indices)


def test_few_cells_are_stored_densely():
    output = classes(count=6)
    assert format_of(output, 1.0, 'fp32', 32).size == 6 * 4 + 1


def test_coordinates_are_exact():
    joints = torch.rand(3, 5, 2)
    finite = torch.ones(3, dtype=torch.bool)
    output = MentorOutput((torch.rand(3, 5, 4),), finite, joints, joints[..., 0])
    for cells in (1, 3, 32):
        record_format = format_of(output, 1.0, 'fp16', cells)
        (again,) = record_format.unpack(record_format.pack(output)).values
        assert torch.equal(again, output.values[0])


def test_what_half_precision_cannot_hold_is_cut_off():
    output = MentorOutput(
        (torch.tensor([[[1e6, -1e6, 1.0, 0.0, 0.0]]]),), torch.ones(1, dtype=torch.bool)
    )
    record_format = format_of(output, 1.0, 'fp16')
    assert record_format.unpack(record_format.pack(output)).values[0].isfinite().all()


@pytest.mark.parametrize('student', CODECS)
@pytest.mark.parametrize('mentor', CODECS)
def test_records_of_any_head_give_the_same_predictions(mentor, student):
    cfg = estimator(codec_name=mentor, input_size=(128, 128))
    adapter = build_adapter(build(estimator(codec_name=student)))
    model = build(cfg, seed=1)
    frame = letterbox(INPUT_SIZE, (128, 128))[1]
    its_adapter = mentor_adapter(model, adapter, 'model.mentors[0]', Config(dict(model=cfg)))
    output_adapter = adapter.output_adapter(its_adapter, frame)
    with torch.no_grad():
        output = output_adapter.read(model.eval()(torch.randn(3, 3, 128, 128), None, 'tensor'))
    record_format = format_of(output, output_adapter.factor, 'fp32')
    expected, again = (
        output_adapter.predict(given)
        for given in (output, record_format.unpack(record_format.pack(output)))
    )
    assert torch.equal(again.joints, expected.joints)
    assert torch.equal(again.confidences, expected.confidences)
    assert torch.equal(again.valid, expected.valid)
    assert len(again.values) == len(expected.values)
    for ours, theirs in zip(again.values, expected.values):
        assert torch.equal(ours, theirs)
