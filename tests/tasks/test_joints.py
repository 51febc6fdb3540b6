"""Which joint is which: by name through MMPose's own definitions, or as the config says."""

import pytest
from mmengine.config import Config
from mmengine.hub import get_config

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.metainfo import joint_names, metainfo_of
from mmkd_classroom.tasks.joints import match_joints

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
    with pytest.raises(ClassroomError, match=r"model\.task\.metainfo = .*such as 'coco'"):
        joint_names(wrong, 'model.task.metainfo')
