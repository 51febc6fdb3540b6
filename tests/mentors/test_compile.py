"""Compiled mentors say what they say without, and keep the names of their weights."""

import pytest
import torch
from toys import build, classifier, estimator, pose_batch

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError


def room(student, mentor, strategy=None, **entry):
    torch.manual_seed(0)
    mentors = [dict(config=dict(model=mentor), checkpoint=None, **entry)]
    return MultiMentorDistiller(student=build(student), mentors=mentors, strategy=strategy)


@pytest.mark.slow
def test_a_compiled_mentor_says_the_same():
    inputs, samples = pose_batch(3)
    plain, compiled = (room(estimator(), estimator(), compile=c) for c in (False, True))
    for classroom in (plain, compiled):
        classroom.prepare(samples)
    (expected,), (found,) = (c.mentors.predict(inputs) for c in (plain, compiled))
    torch.testing.assert_close(found.values[0], expected.values[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found.valid, expected.valid)
    (fewer,) = compiled.mentors.predict(inputs[:2])  # the last batch of an epoch
    torch.testing.assert_close(fewer.values[0], expected.values[0][:2], rtol=1e-4, atol=1e-5)
    names = [list(c.mentors[0].model.state_dict()) for c in (plain, compiled)]
    assert names[0] == names[1]
    settings = [c.mentors[0].settings() for c in (plain, compiled)]
    assert settings[0] == dict(settings[1], compile=False)


def test_features_of_a_compiled_mentor_are_refused():
    strategy = dict(type='mmkd_classroom.CAMKD', mentor_stages='layer2')
    with pytest.raises(ClassroomError, match=r'mentors\[0\]\.compile is True.*stages layer2'):
        room(classifier(), classifier(), strategy, compile=True)
