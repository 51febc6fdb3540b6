"""The parts of a report against planted results: shares, means, choices, shapes, joined logs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmpretrain.models import ClsDataPreprocessor

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.report.run import joined, read_classroom, read_run

pytest.importorskip('plotly', reason='the report needs plotly')

from mmkd_classroom.report import charts  # noqa: E402
from mmkd_classroom.report.choice import galleries  # noqa: E402
from mmkd_classroom.report.pictures import mean_shape  # noqa: E402
from mmkd_classroom.report.samples import SampleOutputs, _images  # noqa: E402


def class_samples(score, weight, truth, /, **changes):
    """Outputs on classes of these scores ``(M + 1, N)``, weights ``(M, N)`` and labels."""
    score, weight = np.asarray(score, float), np.asarray(weight, float)
    truth = np.asarray(truth)
    members, count = score.shape
    values = dict(
        members=['student', *(f'mentor_{i}' for i in range(members - 1))],
        kind='classes',
        categories=[f'class_{i}' for i in range(truth.max() + 1)],
        images=[np.zeros((4, 4, 3), np.uint8)] * count,
        truth=truth,
        labelled=np.ones((count, 1), bool),
        predicted=np.broadcast_to(truth, score.shape),
        confidence=score,
        score=score,
        item_score=score[..., None],
        weight=weight[..., None],
        links=[],
    )
    return SampleOutputs(**{**values, **changes})


def test_what_nobody_teaches_is_nobody_s():
    weight = [[1, 0, 3, 0], [3, 0, 0, 0]]  # 2 mentors, 4 samples
    outputs = class_samples(np.full((3, 4), 0.5), weight, [0, 0, 1, 1])
    shares = charts.teaching_shares(outputs)
    np.testing.assert_allclose(shares, [[0.125, 0.5], [0.375, 0], [0.5, 0.5]])


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 12), st.integers(1, 5))
def test_shares_of_joints_sum_to_one(seed, mentors, samples, joints):
    generator = np.random.default_rng(seed)
    weight = generator.uniform(0, 1, (mentors, samples, joints))
    weight[generator.uniform(size=weight.shape) < 0.4] = 0
    labelled = generator.uniform(size=(samples, joints)) < 0.7
    score = generator.uniform(0, 1, (mentors + 1, samples))
    outputs = class_samples(
        score,
        np.zeros((mentors, samples)),
        np.zeros(samples, int),
        kind='keypoints',
        categories=[f'joint_{i}' for i in range(joints)],
        labelled=labelled,
        weight=weight,
        item_score=np.where(
            labelled, generator.uniform(size=(mentors + 1, *labelled.shape)), np.nan
        ),
    )
    shares = charts.teaching_shares(outputs)
    for joint in range(joints):
        if not labelled[:, joint].any():
            assert np.isnan(shares[:, joint]).all()
            continue
        assert shares[:, joint].sum() == pytest.approx(1)
        seen = weight[:, labelled[:, joint], joint]
        assert shares[-1, joint] == pytest.approx((seen.sum(axis=0) == 0).mean())
    means = charts.by_category(outputs, outputs.item_score)
    for joint in np.flatnonzero(labelled.any(axis=0)):
        expected = np.nanmean(outputs.item_score[:, :, joint], axis=1)
        np.testing.assert_allclose(means[:, joint], expected)


def test_many_categories_are_cut_to_the_unusual():
    values = np.full((2, 100), 0.5)
    values[0, [3, 77]] = 1.0, 0.0
    kept, names = charts.most_uneven(values, [str(i) for i in range(100)])
    assert kept.shape == (2, charts.SHOWN_CATEGORIES) and {'3', '77'} <= set(names)


def test_grey_images_are_shown():
    preprocessor = ClsDataPreprocessor(mean=[33.0], std=[78.0])
    pixels = torch.arange(16.0).view(1, 1, 4, 4)
    (image,) = _images((pixels - 33) / 78, SimpleNamespace(data_preprocessor=preprocessor))
    assert image.shape == (4, 4, 3)
    assert (image == np.arange(16).reshape(4, 4, 1)).all()


def test_each_gallery_shows_what_it_says():
    #          disputed  hard  silenced  lead
    score = [[0.50, 0.05, 0.80, 0.10], [0.95, 0.05, 0.60, 0.60], [0.05, 0.05, 0.70, 0.55]]
    weight = [[1, 0, 0, 1], [0, 0, 0, 1]]
    confidence = [[0.5] * 4, [0.9, 0.3, 0.99, 0.6], [0.1, 0.3, 0.7, 0.6]]
    outputs = class_samples(score, weight, [0, 0, 0, 0], confidence=np.array(confidence))
    found = {g.title: g.samples for g in galleries(outputs, count=1)}
    assert found == {
        'Where the student has most to learn': [3],
        'Confidently wrong, and silenced': [2],
        'The most disputed': [0],
        'The hardest': [1],
    }
    assert sorted(sum((g.samples for g in galleries(outputs, count=4)), [])) == [0, 1, 2, 3]


def test_who_is_not_sure_is_not_shown_as_confidently_wrong():
    score, weight = [[0.5, 0.5], [0.1, 0.2]], [[0, 0]]
    for confidence, shown in (([0.4, 0.4], []), ([0.4, 0.6], [1])):
        outputs = class_samples(
            score, weight, [0, 0], confidence=np.array([[1.0, 1.0], confidence])
        )
        found = {g.title: g.samples for g in galleries(outputs, count=1)}
        assert found.get('Confidently wrong, and silenced', []) == shown


def test_a_sample_without_label_is_never_shown():
    outputs = class_samples([[0.5, 0.5], [0.6, 0.6]], [[1, 1]], [0, 0])
    outputs.labelled[0] = False
    assert [g.samples for g in galleries(outputs)] == [[1]]


def test_a_mean_shape_forgets_place_size_rotation_and_side():
    generator = np.random.default_rng(0)
    shape = np.array([[0, -3], [-1, -1], [1.2, -1], [-0.5, 2], [0.6, 2.4]], float)
    poses = []
    for _ in range(40):
        angle = generator.normal(0, 0.5)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        side = np.diag([generator.choice([-1, 1]), 1])
        pose = shape @ side @ turn * generator.uniform(5, 50) + generator.uniform(0, 200, 2)
        poses.append(pose)
    found = mean_shape(np.stack(poses), np.ones((40, 5), bool))
    wanted = shape - shape.mean(axis=0)
    wanted /= np.sqrt((wanted**2).sum(axis=-1).mean())

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(distances(found), distances(wanted), atol=1e-6)
    assert found[0, 1] < found[1, 1] < found[3, 1]  # upright: y grows downwards


def test_a_shape_of_one_labelled_pose_and_of_none():
    joints = np.arange(12, dtype=float).reshape(2, 3, 2)
    labelled = np.array([[True, True, False], [True, False, False]])
    assert np.isfinite(mean_shape(joints, labelled)).all()
    assert (mean_shape(joints, np.zeros((2, 3), bool)) == 0).all()


@given(st.lists(st.lists(st.integers(1, 50), max_size=8, unique=True), max_size=4))
def test_a_resumed_part_replaces_what_follows(parts):
    parts = [[dict(step=s, part=i) for s in sorted(steps)] for i, steps in enumerate(parts)]
    whole = joined(parts)
    steps = [line['step'] for line in whole]
    assert steps == sorted(set(steps))
    last = next((p for p in reversed(parts) if p), [])
    assert whole[len(whole) - len(last) :] == last


def write_log(work_dir, name, lines):
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(line) for line in lines) + '\n{"st')
    (folder / 'config.py').write_text("model = dict(type='X')\ntrain_cfg = dict(by_epoch=True)\n")


def test_the_parts_of_a_log(tmp_path):
    steps = [dict(loss=1.0, time=0.2, data_time=0.1, step=s, iter=s, epoch=s) for s in (1, 2, 3)]
    tests = [dict(AP=0.5 + s, time=1, data_time=1, step=s) for s in (1, 2, 3)]
    write_log(tmp_path, '20260101_000000', [*steps, *tests])
    more = [
        dict(loss=0.5, time=0.4, data_time=0.1, step=3, iter=3, epoch=3),
        {'mentor/a/score': 0.5, 'step': 3},
    ]
    write_log(tmp_path, '20260102_000000', [*more, dict(AP=0.7, time=1, data_time=1, step=3)])
    run = read_run([tmp_path])
    assert [line['loss'] for line in run.steps] == [1.0, 1.0, 0.5]
    assert run.metrics == ['AP'] and run.result('AP') == 0.7
    assert [line['AP'] for line in run.validations] == [1.5, 2.5, 0.7]
    assert run.mean('time') == pytest.approx(0.8 / 3)
    # Started again from the first step, and not validated yet.
    write_log(tmp_path, '20260103_000000', steps[:1])
    again = read_run([tmp_path])
    assert len(again.steps) == 1 and again.validations == []
    with pytest.raises(ClassroomError, match='not the work_dir of a classroom'):
        read_classroom([tmp_path])


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ClassroomError, match='no such directory'):
        read_run([tmp_path / 'nowhere'])
    with pytest.raises(ClassroomError, match='no log of a training'):
        read_run([tmp_path])
