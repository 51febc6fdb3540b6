"""Rankers: their scores, what counts as right, and the messages where they do not fit."""

import pytest
import torch
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import item_weights, oks, pck
from mmkd_classroom.rankers import OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.rankers.keypoints import dataset_sigmas
from mmkd_classroom.registry import TASK_UTILS
from mmkd_classroom.structures import ClassTruth, KeypointTruth


def keypoints(samples=6, joints=17, head=True, dataset='coco'):
    visible = (torch.rand(samples, joints) > 0.3).float()
    visible[-1] = 0
    truth = KeypointTruth(
        joints=100 * torch.rand(samples, joints, 2),
        weights=item_weights(visible),
        area=1000 + 9000 * torch.rand(samples),
        bbox_size=50 + 50 * torch.rand(samples),
        head_size=10 + 10 * torch.rand(samples) if head else None,
        metainfo=dataset,
    )
    prediction = truth.joints + 12 * torch.randn(3, samples, joints, 2)
    return prediction, truth, visible


def classes(samples=6, count=5, soft=False):
    labels = torch.rand(samples, count).softmax(-1) if soft else torch.randint(count, (samples,))
    return torch.randn(3, samples, count), ClassTruth(labels, torch.ones(samples, 1))


def everyone(members, samples=6):
    return torch.ones(members, samples, dtype=torch.bool)


@pytest.mark.parametrize('soft', [False, True])
def test_true_class_is_the_probability_of_the_label(soft):
    logits, truth = classes(soft=soft)
    score = TrueClassRanker().score(logits, truth)
    log = logits.log_softmax(-1)
    if soft:
        expected = (log * truth.labels).sum(-1).exp()
    else:
        expected = log.exp()[:, torch.arange(6), truth.labels]
    assert score.shape == (3, 6, 1)
    torch.testing.assert_close(score[..., 0], expected)
    batch = TrueClassRanker().batch_score(logits, truth, everyone(3))
    torch.testing.assert_close(batch, expected.log().mean(-1).exp())


@pytest.mark.parametrize('kind', ['classes', 'keypoints'])
def test_a_batch_is_scored_on_the_valid_samples(kind):
    if kind == 'classes':
        ranker, (prediction, truth) = TrueClassRanker(), classes()
        rest = ClassTruth(truth.labels[2:], truth.weights[2:])
    else:
        ranker, (prediction, truth, _) = OKSRanker(), keypoints()
        rest = KeypointTruth(
            truth.joints[2:], truth.weights[2:], truth.area[2:], truth.bbox_size[2:], None, 'coco'
        )
    valid = everyone(3)
    valid[1, :2] = False
    valid[2] = False
    score = ranker.batch_score(prediction, truth, valid)
    whole = ranker.batch_score(prediction, truth, everyone(3))
    alone = ranker.batch_score(prediction[1, 2:], rest, everyone(1, 4)[0])
    torch.testing.assert_close(score[:2], torch.stack([whole[0], alone]))
    assert score[2] == 0 and (whole > 0).all() and abs(whole[1] - alone) > 1e-4


def test_a_classifier_is_right_where_its_greatest_logit_is_the_label_s():
    logits = torch.tensor([[[0.0, 1.0, 2.0], [5.0, 1.0, 2.0]]])
    hard = ClassTruth(torch.tensor([2, 1]), torch.ones(2, 1))
    soft = ClassTruth(torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]), torch.ones(2, 1))
    for truth in (hard, soft):
        assert TrueClassRanker().correct(logits, truth).tolist() == [[True, False]]


def test_oks_of_a_sample_is_the_mean_of_its_joints():
    prediction, truth, visible = keypoints()
    score = OKSRanker().score(prediction, truth)
    assert score.shape == (3, 6, 17)
    coco = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
    sigmas = torch.tensor(coco['sigmas'], dtype=torch.float32)
    expected = oks(prediction, truth.joints, visible, truth.area, sigmas)
    torch.testing.assert_close((score * truth.weights).sum(-1), expected)
    batch = OKSRanker().batch_score(prediction, truth, everyone(3))
    torch.testing.assert_close(batch, expected.mean(-1))
    threshold = expected.flatten().sort().values[9:11].mean().item()  # some above, some below
    right = OKSRanker(correct_thr=threshold).correct(prediction, truth)
    assert torch.equal(right, expected >= threshold)
    assert right.any() and not right.all()


@pytest.mark.parametrize('norm', ['bbox', 'head'])
def test_pck_takes_the_box_or_the_head(norm):
    prediction, truth, visible = keypoints()
    size = truth.bbox_size if norm == 'bbox' else truth.head_size
    score = PCKRanker(thr=0.25, norm=norm).score(prediction, truth)
    torch.testing.assert_close(
        (score * truth.weights).sum(-1), pck(prediction, truth.joints, visible, size, 0.25)
    )
    assert 0 < score.mean() < 1 and set(score.unique().tolist()) == {0, 1}


@pytest.mark.parametrize('name, joints', [('coco', 17), ('mpii', 16), ('crowdpose', 14)])
def test_sigmas_are_those_of_the_named_data_set(name, joints):
    sigmas = dataset_sigmas(name)
    assert sigmas.shape == (joints,) and sigmas.dtype == torch.float32 and (sigmas > 0).all()
    if name == 'coco':
        assert sigmas[[0, 11]].tolist() == pytest.approx([0.026, 0.107])


def test_given_sigmas_come_first_and_travel_with_the_model():
    prediction, truth, _ = keypoints(joints=2, dataset=None)
    ranker = OKSRanker(sigmas=[0.05, 0.1]).double()
    assert ranker.sigmas.dtype == torch.float64
    assert 'sigmas' not in ranker.state_dict()
    assert ranker.score(prediction, truth).shape == (3, 6, 2)


def test_unknown_data_sets_have_no_sigmas():
    prediction, truth, _ = keypoints(dataset='no_such_set')
    with pytest.raises(ClassroomError, match=r"not define.*'no_such_set'.*model\.ranker\.sigmas"):
        OKSRanker().score(prediction, truth)


def test_sigmas_of_another_skeleton_are_refused():
    with pytest.raises(ClassroomError, match=r'model\.ranker\.sigmas has 2 values for 17 joints'):
        OKSRanker(sigmas=[0.1, 0.1]).check(17, 'coco')
    OKSRanker().check(17, 'coco')
    with pytest.raises(ClassroomError, match='17 joints, but have 14: give model.task.metainfo'):
        OKSRanker().check(14, 'coco')
    with pytest.raises(ClassroomError, match=r'name no data set: rank by PCK, model\.ranker'):
        OKSRanker().check(14, None)


@pytest.mark.parametrize(
    'name, joints', [('wflw', 98), ('onehand10k', 21), ('deepfashion_upper', 6), ('horse10', 22)]
)
def test_a_data_set_without_sigmas_is_named(name, joints):
    with pytest.raises(ClassroomError) as caught:
        OKSRanker().check(joints, name)
    assert str(caught.value) == (
        f"model.ranker is an OKSRanker, but the data set '{name}' has no sigmas: rank by PCK, "
        "model.ranker = dict(type='mmkd_classroom.PCKRanker'), or give model.ranker.sigmas, one "
        'value per joint.'
    )
    PCKRanker().check(joints, name)
    OKSRanker(sigmas=[0.05] * joints).check(joints, name)


def test_a_head_size_must_be_there():
    prediction, truth, _ = keypoints(head=False)
    with pytest.raises(ClassroomError, match=r"norm is 'head'.*no head_size"):
        PCKRanker(norm='head').score(prediction, truth)


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


@pytest.mark.parametrize('name', ['OKSRanker', 'PCKRanker', 'TrueClassRanker'])
def test_built_by_name(name):
    ranker = TASK_UTILS.build(dict(type=f'mmkd_classroom.{name}'))
    assert type(ranker).__name__ == name
    assert not list(ranker.parameters()) and not ranker.state_dict()
