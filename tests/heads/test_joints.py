"""Which joint is which: by name through MMPose's own definitions, or as the config says."""

import copy
from functools import cache
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmpose.datasets import DeepFashionDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads.joints import match_joints
from mmkd_classroom.metainfo import Names, joint_names, metainfo_of

KEY = 'model.mentors[2]'
COCO = joint_names('coco', 'x')
_LIMBS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
SETS = ['aic', 'crowdpose', 'halpe26', 'coco_wholebody', 'mpii']


@pytest.mark.parametrize('other', SETS)
def test_joints_are_matched_by_name_both_ways(other):
    names = joint_names(other, 'x')
    for mentor, student in [(names, COCO), (COCO, names)]:
        matched = match_joints(mentor, student, None, KEY)
        for name, index in zip(student, matched):
            assert index == (mentor.index(name) if name in mentor else None)
        limbs = [f'{s}_{n}' for s in ('left', 'right') for n in _LIMBS]
        assert all(matched[student.index(n)] is not None for n in limbs)


def test_the_whole_body_holds_all_of_coco():
    names = joint_names('coco_wholebody', 'x')
    assert len(names) == 133
    assert match_joints(names, COCO, None, KEY) == list(range(17))


def test_a_map_settles_what_names_do_not():
    mpii, aic = joint_names('mpii', 'x'), joint_names('aic', 'x')
    matched = match_joints(aic, mpii, {'neck': 'upper_neck', 'head_top': None}, KEY)
    assert matched[mpii.index('upper_neck')] == aic.index('neck')
    assert matched[mpii.index('head_top')] is None  # left out, though the names are equal
    by_index = {aic.index('neck'): mpii.index('upper_neck')}
    assert match_joints(aic, mpii, by_index, KEY)[mpii.index('upper_neck')] == aic.index('neck')


def test_a_map_outranks_equal_names():
    assert match_joints(('a', 'b'), ('a', 'b'), {'a': 'b', 'b': 'a'}, KEY) == [1, 0]
    assert match_joints(('a', 'b'), ('a', 'c'), {'b': 'a'}, KEY) == [1, None]


@pytest.mark.parametrize(
    'keypoint_map, message',
    [
        ({'tail': 'nose'}, "names 'tail', which is none of the mentor's 17 joints: nose, left_eye"),
        ({'nose': 'tail'}, "names 'tail', which is none of the student's 14 joints"),
        ({99: 'neck'}, "names 99, which is none of the mentor's 17 joints"),
        (
            {'nose': 'neck', 'left_eye': 'neck'},
            "gives two joints of the mentor, 'nose' and 'left_eye', for the student's 'neck'",
        ),
        ({'nose': 'neck', 0: 'top_head'}, "names the mentor's joint 'nose' twice"),
    ],
)
def test_a_wrong_map_is_named(keypoint_map, message):
    with pytest.raises(ClassroomError) as caught:
        match_joints(COCO, joint_names('crowdpose', 'x'), keypoint_map, KEY)
    assert str(caught.value).startswith('model.mentors[2].keypoint_map ')
    assert message in str(caught.value)


def test_nothing_in_common_is_named():
    with pytest.raises(ClassroomError, match=r'model\.mentors\[2\] has no joint.*keypoint_map'):
        match_joints(('wing', 'beak'), COCO, None, KEY)


# --- numbers are no names -----------------------------------------------------------------------

SETS_OF_MMPOSE = sorted(
    path.stem for path in Path(mmpose.__file__).parent.glob('.mim/configs/_base_/datasets/*.py')
)
# Data sets that count the same points in the same way: iBUG's 68 of a face, and COCO-WholeBody's.
SAME_COUNT = [
    {'300w', '300vw'},
    {
        'coco_wholebody', 'coco_wholebody_face', 'coco_wholebody_openpose', 'h3wb', 'halpe',
        'ubody2d',
    },
]  # fmt: skip


@cache
def joints_of(name):
    """Names without the table of joint sets, for which see test_joint_sets.py."""
    joints = joint_names(name, 'x')
    return Names(tuple(joints), joints.keys)


def is_number(name):
    return name.lower().startswith(('kpt-', 'face')) or '_kpt' in name


def matched_names(mentor, student):
    """Names of the student's joints that are taken for a mentor's of the same name."""
    try:
        matched = match_joints(mentor, student, None, KEY)
    except ClassroomError:
        return set()
    assert all(mentor[i] == name for name, i in zip(student, matched) if i is not None)
    return {name for name, index in zip(student, matched) if index is not None}


@pytest.mark.parametrize('mentor', SETS_OF_MMPOSE)
def test_a_number_never_matches_another_data_set_s(mentor):
    """Names of all of MMPose's definitions do, in all pairs of them."""
    assert len(SETS_OF_MMPOSE) > 50
    theirs = joints_of(mentor)
    for student in SETS_OF_MMPOSE:
        ours = joints_of(student)
        same = mentor == student or any({mentor, student} <= group for group in SAME_COUNT)
        shared = set(theirs) & set(ours)
        expected = {name for name in shared if same or not is_number(name)}
        assert matched_names(theirs, ours) == expected, (mentor, student)


def test_numbers_occur_in_the_definitions_and_fingers_are_names():
    numbered = {name for name in SETS_OF_MMPOSE if any(map(is_number, joints_of(name)))}
    assert {'wflw', 'lapa', '300w', 'cofw', 'aflw', 'deepfashion2', 'ubody3d'} < numbered
    hands = matched_names(joints_of('rhd2d'), joints_of('onehand10k'))
    assert len(hands) == 21 and 'thumb4' in hands


@pytest.mark.parametrize('mentor, student', [('lapa', 'wflw'), ('300wlp', '300w')])
def test_a_mentor_that_has_numbers_only_is_refused(mentor, student):
    with pytest.raises(ClassroomError) as caught:
        match_joints(joints_of(mentor), joints_of(student), None, KEY)
    message = str(caught.value)
    assert message.startswith("model.mentors[2] has no joint of the student's: kpt-0 to kpt-")
    assert 'are numbers, no names' in message
    assert 'model.mentors[2].keypoint_map' in message and 'model.mentors[2].metainfo' in message
    by_hand = match_joints(joints_of(mentor), joints_of(student), {'kpt-5': 'kpt-7'}, KEY)
    assert [pair for pair in enumerate(by_hand) if pair[1] is not None] == [(7, 5)]


def numbered(dataset_name, count, name='p{}', mirrored=()):
    """Joint names of a data set with nothing but numbers."""
    swap = {a: b for pair in mirrored for a, b in (pair, pair[::-1])}
    info = {
        index: dict(name=name.format(index), swap=name.format(swap[index]) if index in swap else '')
        for index in range(count)
    }
    ones = [1.0] * count
    definition = dict(
        dataset_name=dataset_name, keypoint_info=info, skeleton_info={}, joint_weights=ones,
        sigmas=ones,
    )  # fmt: skip
    return joint_names(definition, 'x')


@pytest.mark.parametrize('name', ['p{}', 'kpt-{}', 'corner_{}', '{}', 'Landmark {}'])
def test_numbers_of_one_s_own_data_set_match_it_alone(name):
    ours = numbered('ours', 8, name)
    assert len(matched_names(ours, numbered('ours', 8, name))) == 8
    assert not matched_names(ours, numbered('theirs', 8, name))
    assert not matched_names(ours, numbered('ours', 9, name))
    assert not matched_names(ours, numbered('ours', 8, name, mirrored=[(0, 1)]))


@pytest.mark.parametrize('name', ['kpt{}', '{}', 'left_point_{}'])
def test_a_few_points_are_numbers_too(name):
    """Where the word before the number names nothing."""
    assert not matched_names(numbered('ours', 4, name), numbered('theirs', 4, name))
    assert len(matched_names(numbered('ours', 4, name), numbered('ours', 4, name))) == 4


def test_names_keep_what_they_match_by():
    names = joint_names('wflw', 'x')
    for same in (copy.deepcopy(names), Names(names)):
        assert same == names and same.keys == names.keys and same.points == names.points
    assert names.keys[3] != names[3] and Names(['nose']).keys == ('nose',)
    assert names.points[3] != names.keys[3] and Names(['nose']).points == ('nose',)


@pytest.mark.parametrize(
    'path, name, count',
    [
        ('mmpose::body_2d_keypoint/topdown_heatmap/aic/td-hm_hrnet-w32_8xb64-210e_aic-256x192.py',
         'aic', 14),
        ('mmpose::body_2d_keypoint/rtmpose/body8/rtmpose-s_8xb1024-700e_body8-halpe26-256x192.py',
         'halpe26', 26),
        ('mmpose::body_2d_keypoint/topdown_heatmap/coco/'
         'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py', 'coco', 17),
        # Trained on 19 joints of two data sets, validated on COCO's 17.
        ('mmpose::body_2d_keypoint/topdown_heatmap/coco/'
         'td-hm_hrnet-w32_8xb64-210e_coco-aic-256x192-combine.py', 'coco_aic', 19),
    ],
)  # fmt: skip
def test_a_stock_config_names_its_joints(path, name, count):
    names = joint_names(metainfo_of(get_config(path), count), 'x')
    assert len(names) == count and names == joint_names(name, 'x')


def test_a_config_without_data_names_none():
    assert metainfo_of(Config(dict(model=dict(type='TopdownPoseEstimator'))), 17) is None
    assert joint_names(None, 'x') is None


@pytest.mark.parametrize('wrong', ['coko', dict(from_file='nowhere.py'), dict(a=1)])
def test_a_wrong_definition_is_named(wrong):
    with pytest.raises(ClassroomError, match=r"model\.adapter\.metainfo = .*such as 'coco'"):
        joint_names(wrong, 'model.adapter.metainfo')


@pytest.mark.parametrize('subset, count', [('full', 8), ('upper', 6), ('lower', 4), ('', 8)])
@pytest.mark.parametrize('before', ['upper', 'full'])
def test_deep_fashion_s_joints_are_those_of_the_subset(subset, count, before, monkeypatch):
    """Whatever subset was built before: building one changes the class."""
    monkeypatch.setattr(DeepFashionDataset, 'METAINFO', DeepFashionDataset.METAINFO)
    DeepFashionDataset._check_subset_and_metainfo(before)
    built = DeepFashionDataset.METAINFO
    dataset = dict(type='DeepFashionDataset', subset=subset)
    metainfo = metainfo_of(Config(dict(train_dataloader=dict(dataset=dataset))), count)
    assert len(joint_names(metainfo, 'x')) == count
    assert DeepFashionDataset.METAINFO is built


def test_wrappers_name_the_joints_of_what_they_wrap():
    wrapped = dict(type='ConcatDataset', datasets=[dict(type='CrowdPoseDataset')])
    dataset = dict(type='RepeatDataset', times=2, dataset=wrapped)
    metainfo = metainfo_of(Config(dict(train_dataloader=dict(dataset=dataset))), 14)
    assert joint_names(metainfo, 'x') == joint_names('crowdpose', 'x')


@pytest.mark.parametrize('parsed', [False, True])
def test_joints_out_of_order_are_refused(parsed):
    """MMPose takes the order of the definition for that of the ids."""
    points = {i: dict(name=f'p{i}', id=i, color=[0, 0, 0], type='', swap='') for i in (2, 0, 1)}
    definition = dict(
        dataset_name='own', keypoint_info=points, skeleton_info={}, sigmas=[], joint_weights=[1] * 3
    )
    definition = parse_pose_metainfo(definition) if parsed else definition
    with pytest.raises(ClassroomError, match=r"'own' have the ids \[2, 0, 1\]"):
        joint_names(definition, 'model.adapter.metainfo')
