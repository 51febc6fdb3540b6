"""Rankers: their scores, what counts as right, and the messages where they do not fit."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from scores import oks, pck

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import item_weights
from mmkd_classroom.heads import ClassificationAdapter
from mmkd_classroom.rankers import ConfidenceRanker, OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.rankers.keypoints import dataset_sigmas
from mmkd_classroom.registry import TASK_UTILS
from mmkd_classroom.structures import ClassTargets, JointTargets, Prediction

SAMPLE = SimpleNamespace(gt_instances={})


def keypoints(samples=6, joints=17):
    visible = (torch.rand(samples, joints) > 0.3).float()
    visible[-1] = 0
    targets = JointTargets(
        joints=100 * torch.rand(samples, joints, 2),
        weights=item_weights(visible),
        area=1000 + 9000 * torch.rand(samples),
        bbox_size=50 + 50 * torch.rand(samples),
        head_size=10 + 10 * torch.rand(samples),
    )
    predicted = targets.joints + 12 * torch.randn(3, samples, joints, 2)
    return [of_joints(member) for member in predicted], targets, visible


def of_joints(joints, confidences=None):
    """A prediction of which a ranker reads the joints."""
    ones = torch.ones(joints.shape[:-1])
    return Prediction((joints,), 1.0, (1.0,), ones > 0, joints, ones * (confidences or 1.0))


def classes(samples=6, count=5, soft=False):
    labels = torch.rand(samples, count).softmax(-1) if soft else torch.randint(count, (samples,))
    logits = torch.randn(3, samples, count)
    return logits, of_logits(logits), ClassTargets(labels, torch.ones(samples, 1))


def of_logits(logits):
    return [ClassificationAdapter.prediction(member[:, None]) for member in logits]


def bound(ranker, joints=17, metainfo='coco'):
    ranker.prepare(joints, metainfo, SAMPLE)
    return ranker


@pytest.mark.parametrize('soft', [False, True])
def test_true_class_is_the_probability_of_the_label(soft):
    logits, members, targets = classes(soft=soft)
    scores = TrueClassRanker()(members, targets)
    log = logits.log_softmax(-1)
    if soft:
        expected = (log * targets.labels).sum(-1)
    else:
        expected = log[:, torch.arange(6), targets.labels]
    assert scores.item.shape == scores.valid.shape == scores.nll.shape == (3, 6, 1)
    torch.testing.assert_close(scores.item[..., 0], expected.exp())
    torch.testing.assert_close(scores.sample, expected.exp())
    torch.testing.assert_close(scores.nll[..., 0], -expected)
    torch.testing.assert_close(scores.batch, expected.mean(-1).exp())


@pytest.mark.parametrize('kind', ['classes', 'keypoints'])
def test_a_batch_is_scored_on_the_valid_samples(kind):
    if kind == 'classes':
        ranker, (_, members, targets) = TrueClassRanker(), classes()
    else:
        ranker, (members, targets, _) = bound(OKSRanker()), keypoints()
    whole = ranker(members, targets)
    rest = type(targets)(**{name: value[2:] for name, value in vars(targets).items()})
    alone = ranker([part(members[1], 2)], rest)
    members[1].valid[:2] = False
    members[2].valid[:] = False
    scores = ranker(members, targets)
    torch.testing.assert_close(scores.batch[:2], torch.cat([whole.batch[:1], alone.batch]))
    assert scores.batch[2] == 0 and (whole.batch > 0).all()
    assert abs(whole.batch[1] - alone.batch[0]) > 1e-4
    assert (scores.item[2] == 0).all() and (scores.sample[1, :2] == 0).all()
    torch.testing.assert_close(scores.sample[1, 2:], whole.sample[1, 2:])


def part(member, first):
    """The samples from ``first`` on."""
    values = {
        name: getattr(member, name)[first:]
        for name in ('valid', 'joints', 'confidences')
        if getattr(member, name) is not None
    }
    return replace(member, values=(member.values[0][first:],), **values)


def test_a_sample_is_the_mean_of_the_joints_that_a_member_has():
    members, targets, _ = keypoints()
    ranker = bound(OKSRanker())
    item = ranker(members, targets).item
    members[1].valid[:, ::2] = False
    scores = ranker(members, targets)
    labelled = (targets.weights > 0).float()
    labelled[:, ::2] = 0
    expected = (item[1] * labelled).sum(-1) / labelled.sum(-1).clamp(min=1)
    torch.testing.assert_close(scores.sample[1], expected)


def test_a_classifier_is_right_where_its_greatest_logit_is_the_label_s():
    members = of_logits(torch.tensor([[[0.0, 1.0, 2.0], [5.0, 1.0, 2.0]]]))
    hard = ClassTargets(torch.tensor([2, 1]), torch.ones(2, 1))
    soft = ClassTargets(torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]), torch.ones(2, 1))
    for targets in (hard, soft):
        assert TrueClassRanker()(members, targets).correct.tolist() == [[True, False]]


def test_oks_of_a_sample_is_the_mean_of_its_joints():
    members, targets, visible = keypoints()
    scores = bound(OKSRanker())(members, targets)
    assert scores.item.shape == (3, 6, 17)
    coco = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
    sigmas = torch.tensor(coco['sigmas'], dtype=torch.float32)
    joints = torch.stack([member.joints for member in members])
    expected = oks(joints, targets.joints, visible, targets.area, sigmas)
    torch.testing.assert_close(scores.sample, expected)
    torch.testing.assert_close(scores.batch, expected[:, visible.any(-1)].mean(-1))
    torch.testing.assert_close(scores.nll, -scores.item.clamp(min=1e-38).log(), atol=1, rtol=0.01)
    threshold = expected.flatten().sort().values[9:11].mean().item()  # some above, some below
    right = bound(OKSRanker(correct_thr=threshold))(members, targets).correct
    assert torch.equal(right, expected >= threshold)
    assert right.any() and not right.all()


def test_a_mentor_that_lacks_joints_is_scored_on_those_that_it_has():
    members, targets, visible = keypoints()
    has = torch.zeros(17, dtype=torch.bool)
    has[0] = True
    perfect = replace(members[1], joints=targets.joints, valid=has.expand(6, 17))
    scores = bound(OKSRanker())([members[0], perfect], targets)
    scored = visible[:, 0] > 0
    assert 0 < scored.sum() < 6
    torch.testing.assert_close(scores.sample[1], scored.to(scores.sample))
    assert scores.batch[1] == pytest.approx(1)


@pytest.mark.parametrize('norm', ['bbox', 'head'])
def test_pck_takes_the_box_or_the_head(norm):
    members, targets, visible = keypoints()
    size = targets.bbox_size if norm == 'bbox' else targets.head_size
    scores = PCKRanker(thr=0.25, norm=norm)(members, targets)
    joints = torch.stack([member.joints for member in members])
    torch.testing.assert_close(scores.sample, pck(joints, targets.joints, visible, size, 0.25))
    assert 0 < scores.item.mean() < 1 and set(scores.item.unique().tolist()) == {0, 1}
    assert scores.nll.isfinite().all() and scores.nll.max() > 80


def test_confidences_need_no_labels():
    _, targets, _ = keypoints()
    members = [of_joints(targets.joints, level) for level in (0.25, 0.5, 1.75)]
    scores = ConfidenceRanker()(members, targets)
    assert scores.item[:, 0, 0].tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize('name, joints', [('coco', 17), ('mpii', 16), ('crowdpose', 14)])
def test_sigmas_are_those_of_the_named_data_set(name, joints):
    sigmas = dataset_sigmas(name)
    assert sigmas.shape == (joints,) and sigmas.dtype == torch.float32 and (sigmas > 0).all()
    if name == 'coco':
        assert sigmas[[0, 11]].tolist() == pytest.approx([0.026, 0.107])


def test_given_sigmas_come_first_and_travel_with_the_model():
    members, targets, _ = keypoints(joints=2)
    ranker = bound(OKSRanker(sigmas=[0.05, 0.1]), joints=2, metainfo=None).double()
    assert ranker.sigmas.dtype == torch.float64
    assert 'sigmas' not in ranker.state_dict()
    assert ranker(members, targets).item.shape == (3, 6, 2)


def test_sigmas_of_a_data_set_are_positive():
    coco = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
    with pytest.raises(ClassroomError, match='sigmas that are not above 0.*PCKRanker'):
        dataset_sigmas(dict(coco, sigmas=np.zeros(17)))


def test_unknown_data_sets_have_no_sigmas():
    with pytest.raises(ClassroomError, match=r"not define.*'no_such_set'.*model\.ranker\.sigmas"):
        bound(OKSRanker(), metainfo='no_such_set')


@pytest.mark.parametrize('sigmas', [['a'], [[0.1], [0.2]], [0.0, 0.1], [-1, 0.1], [float('nan')]])
def test_sigmas_are_positive_numbers(sigmas):
    with pytest.raises(ClassroomError, match=r'model\.ranker\.sigmas is .*: give numbers above 0'):
        OKSRanker(sigmas=sigmas)


def test_sigmas_of_another_skeleton_are_refused():
    with pytest.raises(ClassroomError, match=r'model\.ranker\.sigmas has 2 values for 17 joints'):
        bound(OKSRanker(sigmas=[0.1, 0.1]), 17, 'coco')
    bound(OKSRanker(), 17, 'coco')
    with pytest.raises(ClassroomError, match='17 joints, the student has 14: give model.adapter'):
        bound(OKSRanker(), 14, 'coco')
    with pytest.raises(ClassroomError, match=r'name no data set: rank by PCK, model\.ranker'):
        bound(OKSRanker(), 14, None)


@pytest.mark.parametrize(
    'name, joints', [('wflw', 98), ('onehand10k', 21), ('deepfashion_upper', 6), ('horse10', 22)]
)
def test_a_data_set_without_sigmas_is_named(name, joints):
    with pytest.raises(ClassroomError) as caught:
        bound(OKSRanker(), joints, name)
    assert str(caught.value) == (
        f"model.ranker is an OKSRanker, but the data set '{name}' has no sigmas: rank by PCK, "
        "model.ranker = dict(type='mmkd_classroom.PCKRanker'), or give model.ranker.sigmas, one "
        'value per joint.'
    )
    bound(PCKRanker(), joints, name)
    bound(OKSRanker(sigmas=[0.05] * joints), joints, name)


def test_a_head_size_must_be_there():
    with pytest.raises(ClassroomError, match=r"norm is 'head'.*no head_size"):
        bound(PCKRanker(norm='head'))
    PCKRanker(norm='head').prepare(16, 'mpii', SimpleNamespace(gt_instances=dict(head_size=1)))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(norm='torso'), r"model\.ranker\.norm is 'torso'"),
        (dict(thr=0), r'model\.ranker\.thr is 0'),
        (dict(thr=-0.1), r'model\.ranker\.thr is -0.1'),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ClassroomError, match=message):
        PCKRanker(**options)


@pytest.mark.parametrize('name', ['OKSRanker', 'PCKRanker', 'ConfidenceRanker', 'TrueClassRanker'])
def test_built_by_name(name):
    ranker = TASK_UTILS.build(dict(type=f'mmkd_classroom.{name}'))
    assert type(ranker).__name__ == name
    assert not list(ranker.parameters()) and not ranker.state_dict()
