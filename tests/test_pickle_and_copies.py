"""Classrooms that are pickled, copied, and prepared again."""

import copy
import pickle

import pytest
import torch
from toys import SETTINGS, build, classroom_of, estimator, packed, person, total

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.rankers import OKSRanker, PCKRanker

kinds = pytest.mark.parametrize('kind', SETTINGS)


@kinds
def test_a_pickled_classroom_gives_the_same_loss(kind):
    classroom = classroom_of(kind).eval()
    batch = SETTINGS[kind]['batch']()
    again = pickle.loads(pickle.dumps(classroom))
    assert type(again) is type(classroom)
    assert torch.equal(total(again, *batch), total(classroom, *batch))


def test_also_where_mentors_are_converted():
    classroom = MultiMentorDistiller(
        student=build(estimator()),
        mentors=[dict(config=dict(model=estimator(codec_name='simcc')), checkpoint=None)],
    )
    batch = SETTINGS['pose']['batch']()
    classroom.prepare(batch[1])
    again = pickle.loads(pickle.dumps(classroom))
    assert torch.equal(total(again.eval(), *batch), total(classroom.eval(), *batch))


def test_a_copy_does_not_match_the_joints_of_the_original_again():
    classroom = classroom_of('pose').eval()
    batch = SETTINGS['pose']['batch']()
    expected = total(classroom, *batch)
    twin = copy.deepcopy(classroom)
    other = packed(dict(person(), dataset_name='ap10k'))['data_samples']
    twin.prepare([other])
    assert torch.equal(total(classroom, *batch), expected)


def test_a_ranker_that_the_data_decided_is_chosen_anew():
    student = build(estimator(out_channels=17))
    mentors = [dict(config=dict(model=estimator()), checkpoint=None)]
    classroom = MultiMentorDistiller(student=student, mentors=mentors)
    sample = packed(person())['data_samples']
    classroom.prepare([sample])
    assert type(classroom.ranker) is OKSRanker
    classroom.prepare([packed(dict(person(), dataset_name='horse10'))['data_samples']])
    assert type(classroom.ranker) is PCKRanker


def test_samples_of_other_joints_are_refused():
    classroom = classroom_of('pose')
    sample = packed(person())['data_samples']
    joints = sample.gt_instances.transformed_keypoints
    sample.gt_instances.transformed_keypoints = joints[:, :16]
    with pytest.raises(ClassroomError, match='training samples have 16 joints, the student 17'):
        classroom.prepare([sample])


def test_a_student_stays_as_it_was_where_something_does_not_fit():
    student = build(estimator())
    before = dict(student.train_cfg), type(student)
    with pytest.raises(ClassroomError):
        MultiMentorDistiller(student=student, mentors=[dict(config='none.py', checkpoint=None)])
    assert (dict(student.train_cfg), type(student)) == before
