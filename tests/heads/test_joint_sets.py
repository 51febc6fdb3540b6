"""The table of joint sets, against every ``KeypointConverter`` in the configs of MMPose.

As a script it prints how many pairs of data sets share joints, without and with the table, for
docs/mixed_classrooms.md.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import mmpose
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads.joints import match_joints, matched_by_table
from mmkd_classroom.hooks import overview as overview_module
from mmkd_classroom.joint_sets import common_names
from mmkd_classroom.metainfo import Names, joint_names, read_metainfo
from mmkd_classroom.tables import markdown_table

CONFIGS = Path(mmpose.__file__).parent / '.mim' / 'configs'
SETS = sorted(path.stem for path in CONFIGS.glob('_base_/datasets/*.py'))
KEY = 'model.mentors[0]'

# What MMPose's configs map and the table does not: {(from, to): {(index, index)}}.
LEFT_OUT = {
    # One of these is the neck, not both: the first is above the neck, the second below.
    ('mpii', 'halpe26'): {(8, 18)},
    ('mpii', 'crowdpose'): {(7, 13)},
    ('posetrack18', 'crowdpose'): {(1, 13)},  # head_bottom; not mapped to Halpe's neck
    # The eyes (8 to 15) have WFLW's indices instead of LaPa's. The ends of the brows and the sides
    # of the nose are not the points that they are in COCO-WholeBody, below.
    ('cofw', 'lapa'): {
        (8, 60), (9, 72), (10, 64), (11, 68), (12, 62), (13, 66), (14, 70), (15, 74),
        (2, 38), (3, 50), (18, 57), (19, 63),
    },
    ('cofw', 'coco_wholebody'): {(2, 44), (3, 45), (18, 54), (19, 58)},
}  # fmt: skip
# What the table matches and MMPose's configs do not, although they map other joints of the pair.
ADDED = {
    ('halpe', 'crowdpose'): {(17, 12), (18, 13)},  # head and neck, as from CrowdPose to Halpe
    # The eyes of COFW in LaPa's indices.
    ('cofw', 'lapa'): {
        (8, 66), (9, 79), (10, 70), (11, 75), (12, 68), (13, 72), (14, 77), (15, 81),
    },
}  # fmt: skip
# Within the eyelids, the face6 configs map the mean of two points to the middle of LaPa's three;
# the whole-body configs map the points one by one, as the table does.
LIDS = {(37, 67), (38, 69), (40, 71), (41, 73), (43, 76), (44, 78), (46, 80), (47, 82)}
for _name, _first in (('300w', 0), ('coco_wholebody_face', 0), ('halpe', 26)):
    ADDED[_name, 'lapa'] = {(a + _first, b) for a, b in LIDS}


@cache
def joints_of(name):
    return joint_names(name, 'x')


@cache
def mirrored(name):
    return read_metainfo(name, 'x')['flip_indices']


def by_name(name):
    """Without the table."""
    joints = joints_of(name)
    return Names(tuple(joints), joints.keys)


def pairs(mentor, student):
    """Matched indices ``(mentor's, student's)``."""
    try:
        matched = match_joints(mentor, student, None, KEY)
    except ClassroomError:
        return set()
    return {(theirs, ours) for ours, theirs in enumerate(matched) if theirs is not None}


# --- MMPose's own mappings -----------------------------------------------------------------------


def converters(node, dataset=None):
    """All ``KeypointConverter`` below a node of a config, with the data set around each."""
    if isinstance(node, dict):
        kind = node.get('type')
        if kind == 'KeypointConverter':
            yield dataset, node['mapping']
        dataset = kind if isinstance(kind, str) and kind.endswith('Dataset') else dataset
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for part in node:
            yield from converters(part, dataset)


@cache
def mappings():
    """``{(from, to): {(index, index)}}`` of all stock configs; means of two points are left out."""
    init_default_scope('mmpose')
    found = defaultdict(set)
    files = [path for path in CONFIGS.rglob('*.py') if 'KeypointConverter' in path.read_text()]
    assert len(files) == 40
    for path in files:
        cfg = run_path(str(path))  # none of them reads its _base_; far quicker than a Config
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            combined = cfg[loader]['dataset']
            for kind, mapping in converters(combined):
                source = stem(DATASETS.get(kind).METAINFO)
                found[source, stem(combined['metainfo'])].update(
                    (a, b) for a, b in mapping if isinstance(a, int)
                )
    return dict(found)


def stem(metainfo):
    return Path(metainfo['from_file']).stem


def test_the_table_is_that_of_mmpose_s_configs():
    assert len(mappings()) > 35
    assert {pair for pair in mappings() if pair[1] == 'lapa'} >= {
        ('wflw', 'lapa'),
        ('cofw', 'lapa'),
    }
    for source, target in mappings():
        theirs, ours = mappings()[source, target], pairs(joints_of(source), joints_of(target))
        assert theirs - ours == LEFT_OUT.get((source, target), set()), (source, target)
        assert ours - theirs == ADDED.get((source, target), set()), (source, target)


def test_every_exception_is_about_a_pair_of_the_configs():
    assert {*LEFT_OUT, *ADDED} <= mappings().keys()


# --- properties over all pairs -------------------------------------------------------------------


@pytest.mark.parametrize('name', SETS)
def test_no_two_joints_of_a_data_set_are_one_point(name):
    joints = joints_of(name)
    assert len(SETS) > 50 and len(set(joints.points)) == len(joints)


@pytest.mark.parametrize('mentor', SETS)
def test_mirrored_joints_match_mirrored_joints(mentor):
    """Otherwise a mentor would teach the left wrist as the right one on flipped images."""
    theirs = mirrored(mentor)
    for student in SETS:
        ours, found = mirrored(student), pairs(joints_of(mentor), joints_of(student))
        assert {(theirs[a], ours[b]) for a, b in found} <= found, student


@given(st.sampled_from(SETS), st.sampled_from(SETS))
def test_both_directions_match_the_same_joints(first, second):
    there = pairs(joints_of(first), joints_of(second))
    assert there == {(a, b) for b, a in pairs(joints_of(second), joints_of(first))}


def test_equal_names_are_separated_only_where_they_are_two_points():
    """Any head but the top of the head, and InterHand's wrist, which is the root of a hand."""
    separated = set()
    for mentor in SETS:
        for student in SETS:
            lost = pairs(by_name(mentor), by_name(student))
            lost -= pairs(joints_of(mentor), joints_of(student))
            separated |= {(joints_of(student)[ours], mentor, student) for _, ours in lost}
    tops = {'halpe', 'halpe26', 'jhmdb'}
    assert {name for name, *_ in separated} == {'head', 'left_wrist', 'right_wrist'}
    for name, *two in separated:
        assert len(({'interhand3d'} if 'wrist' in name else tops) & set(two)) == 1, (name, two)


# --- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'mentor, student, count',
    [
        ('halpe26', 'aic', 14), ('crowdpose', 'mpii', 13), ('jhmdb', 'posetrack18', 13),
        ('wflw', 'lapa', 98), ('300w', 'wflw', 68), ('cofw', '300w', 17),
        ('coco_wholebody', '300w', 68), ('lapa', 'coco_wholebody_face', 68),
        ('animalpose', 'ap10k', 14),
    ],
)  # fmt: skip
def test_the_usual_pairs_need_no_map(mentor, student, count):
    assert len(pairs(joints_of(mentor), joints_of(student))) == count


@pytest.mark.parametrize(
    'mentor, student', [('aflw', 'wflw'), ('300wlp', '300w'), ('deepfashion2', 'lapa')]
)
def test_numbers_that_are_in_no_table_match_nothing(mentor, student):
    with pytest.raises(ClassroomError, match="has no joint of the student's"):
        match_joints(joints_of(mentor), joints_of(student), None, KEY)


def test_a_map_outranks_the_table():
    halpe, aic = joints_of('halpe26'), joints_of('aic')
    top = aic.index('head_top')
    assert match_joints(halpe, aic, None, KEY)[top] == halpe.index('head')
    assert match_joints(halpe, aic, {'head': None}, KEY)[top] is None
    assert match_joints(halpe, aic, {'nose': 'head_top'}, KEY)[top] == halpe.index('nose')


def test_the_table_is_for_mmpose_s_definitions_only():
    names = [f'kpt-{i}' for i in range(107)]
    assert len(common_names('lapa', names[:106])) == 106
    assert not common_names('lapa', names[1:])  # counted from one
    assert not common_names('lapa', names)
    assert not common_names('mine', names[:106])


def test_what_the_table_matched_is_listed():
    def listed(mentor, student, keypoint_map=None):
        names = joints_of(mentor), joints_of(student)
        return matched_by_table(*names, match_joints(*names, keypoint_map, KEY))

    assert listed('halpe26', 'aic') == [('head', 'head_top')]
    assert listed('halpe26', 'aic', {'nose': 'head_top'}) == []
    assert listed('halpe', 'coco_wholebody') == [] == listed('coco', 'coco')
    assert listed('300w', 'lapa')[:2] == [('kpt-0', 'kpt-0'), ('kpt-1', 'kpt-2')]


def test_the_training_start_says_what_the_table_matched(monkeypatch):
    said = []
    monkeypatch.setattr(overview_module, 'print_log', lambda text, *_, **__: said.append(text))
    monkeypatch.setattr(overview_module, 'overview', lambda *_: 'table')
    joints = [(f'kpt-{i}', f'kpt-{2 * i}') for i in range(22)]
    adapters = [
        SimpleNamespace(by_table=[('head', 'head_top')], untaught=['nose']),
        SimpleNamespace(by_table=joints, untaught=[]),
        SimpleNamespace(by_table=[], untaught=[]),
    ]
    mentors = [SimpleNamespace(name=f'm{i}', output_adapter=a) for i, a in enumerate(adapters)]
    overview_module.log_overview(SimpleNamespace(mentors=mentors), (192, 256))
    table, first, untaught, second = said
    where = 'the table of joint sets (mmkd_classroom/joint_sets.py)'
    assert first == f'model.mentors[0] (m0) teaches by {where}: head -> head_top'
    assert untaught == 'model.mentors[0] (m0) does not teach: nose'
    assert second.endswith('kpt-18 -> kpt-36, kpt-19 -> kpt-38 and 2 more')


# --- the table of docs/mixed_classrooms.md -------------------------------------------------------

GROUPS = {
    'people': ['aic', 'coco', 'coco_wholebody', 'crowdpose', 'halpe', 'halpe26', 'humanart21',
               'jhmdb', 'mpii', 'posetrack18'],
    'faces': ['300w', '300vw', 'coco_wholebody', 'coco_wholebody_face', 'cofw', 'halpe', 'lapa',
              'wflw'],
    'AP-10K and AnimalPose': ['animalpose', 'ap10k'],
    'all definitions of MMPose': SETS,
}  # fmt: skip


def main():
    rows = []
    for group, names in GROUPS.items():
        ordered = [(a, b) for a in names for b in names if a != b]
        before = [len(pairs(by_name(a), by_name(b))) for a, b in ordered]
        after = [len(pairs(joints_of(a), joints_of(b))) for a, b in ordered]
        more = sum(b > 0 == a for a, b in zip(before, after))
        less = sum(a > 0 == b for a, b in zip(before, after))
        shared = [sum(map(bool, counts)) for counts in (before, after)]
        change = f'{shared[1]} (+{more}, -{less})'
        row = group, len(names), len(ordered), shared[0], change, sum(before), sum(after)
        rows.append([str(cell) for cell in row])
    head = ['data sets', 'number', 'ordered pairs', 'share joints by name', 'with the table']
    print(markdown_table([*head, 'joints by name', 'with the table'], rows))


if __name__ == '__main__':
    main()
