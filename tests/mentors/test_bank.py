"""Mentors that nothing trains, saves, copies or renames, but that move with the model."""

import copy

import pytest
import torch
from torch import nn
from toys import build, class_batch, classifier, estimator

from mmkd_classroom.distiller import MultiMentorDistiller, student_of
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.mentors import Mentor, MentorBank, Normalisation, View
from mmkd_classroom.mentors.mentor import build_mentor
from mmkd_classroom.rankers import TrueClassRanker
from mmkd_classroom.tasks import ClassificationTask
from mmkd_classroom.tasks.classification import ClassReader


def view():
    same = Normalisation((0.0,) * 3, (1.0,) * 3, False)
    return View(same, Normalisation((1.0,) * 3, (2.0,) * 3, False))


def bank(*names):
    return MentorBank([Mentor(name, nn.Linear(2, 2), view(), ClassReader(None)) for name in names])


def distiller(mentors=2):
    return MultiMentorDistiller(
        student=build(classifier()),
        mentors=[dict(config=dict(model=classifier(16)), checkpoint=None) for _ in range(mentors)],
        task=dict(type='mmkd_classroom.ClassificationTask'),
        ranker=dict(type='mmkd_classroom.TrueClassRanker'),
        strategy=dict(type='mmkd_classroom.ClassroomKD'),
    )


def snapshot(mentors):
    return [
        {name: tensor.clone() for name, tensor in mentor.model.state_dict().items()}
        for mentor in mentors
    ]


def test_a_mentor_is_frozen_from_the_start():
    mentor = Mentor('one', build(classifier()), view(), ClassReader(None))
    assert not any(module.training for module in mentor.model.modules())
    assert not any(parameter.requires_grad for parameter in mentor.model.parameters())
    assert mentor.num_parameters == sum(p.numel() for p in build(classifier()).parameters())


def test_a_prediction_has_no_graph_and_leaves_the_statistics_of_batchnorm():
    model = build(classifier(dropout_rate=0.5, type='StackedLinearClsHead', mid_channels=[8]))
    mentor = Mentor('one', model, view(), ClassReader(None))
    before = snapshot([mentor])
    inputs = class_batch()[0].requires_grad_()
    first, second = (mentor.predict(inputs) for _ in '12')
    assert not first.values.requires_grad
    assert torch.equal(first.values, second.values)  # no dropout
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), model.state_dict().values()))


def test_the_model_s_own_ways_do_not_reach_the_mentors():
    classroom = distiller()
    student = student_of(classroom)
    assert len(classroom.bank) == 2
    assert list(map(id, classroom.parameters())) == list(map(id, student.parameters()))
    assert [id(b) for b in classroom.buffers()] == [id(b) for b in student.buffers()]
    assert classroom.state_dict().keys() == student.state_dict().keys()
    mentors = {id(module) for mentor in classroom.bank for module in mentor.model.modules()}
    assert not mentors & {id(module) for module in classroom.modules()}
    before = snapshot(classroom.bank)
    classroom.train().requires_grad_(True)
    classroom.init_weights()
    classroom.apply(lambda module: module.train())
    classroom.zero_grad()
    for mentor, saved in zip(classroom.bank, before):
        assert not any(module.training for module in mentor.model.modules())
        assert not any(parameter.requires_grad for parameter in mentor.model.parameters())
        assert all(torch.equal(saved[k], v) for k, v in mentor.model.state_dict().items())


def test_a_deep_copy_shares_the_mentors():
    classroom = distiller()
    twin = copy.deepcopy(classroom)
    assert all(ours is theirs for ours, theirs in zip(twin.bank, classroom.bank))
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in classroom.parameters()}
    assert len(twin.state_dict()) == len(classroom.state_dict())


def test_a_copy_that_moves_leaves_them_where_they_are():
    """As EMA's model on another device does."""
    classroom = distiller()
    twin = copy.deepcopy(classroom).to('meta')
    assert next(twin.parameters()).device.type == 'meta'
    assert next(classroom.bank[0].model.parameters()).device.type == 'cpu'
    assert classroom.loss(*class_batch())['loss_mentors'].isfinite()


@pytest.mark.parametrize('target', [torch.float64, 'meta'])
def test_mentors_move_with_the_model(target):
    classroom = distiller().to(target)
    inputs, samples = class_batch()
    for mentor in classroom.bank:
        for tensor in mentor.model.state_dict().values():
            if target == 'meta':
                assert tensor.device.type == 'meta'
            elif tensor.is_floating_point():
                assert tensor.dtype == target
    if target == 'meta':
        samples = [sample.to('meta') for sample in samples]
    taught = classroom.loss(inputs.to(target), samples)['loss_mentors']
    assert taught.device.type == 'meta' if target == 'meta' else taught.dtype == target


def test_equal_names_are_told_apart():
    assert [m.name for m in bank('a', 'b', 'a', 'a')] == ['a_1', 'b', 'a_2', 'a_3']
    assert [m.name for m in bank('a')] == ['a']


@pytest.mark.parametrize('names', [('a', 'a', 'a_1'), ('a_2', 'a', 'a'), ('a', 'a_1', 'a_1', 'a')])
def test_no_two_names_are_equal_in_the_end(names):
    assert len({mentor.name for mentor in bank(*names)}) == len(names)


def test_a_bank_is_a_sequence():
    mentors = bank('a', 'b')
    assert len(mentors) == 2 and mentors[1] is list(mentors)[1]


def test_somebody_must_teach():
    with pytest.raises(ClassroomError, match=r'model\.mentors is empty'):
        MentorBank([])


# --- one entry of model.mentors -----------------------------------------------------------------


def entry(model, **cfg):
    return build_mentor(
        dict(dict(config=dict(model=model), checkpoint=None), **cfg),
        'model.mentors[0]',
        build(classifier()),
        ClassificationTask(TrueClassRanker()),
    )


def test_names_come_from_the_entry_the_file_or_the_backbone(tmp_path):
    assert entry(classifier()).name == 'ResNet_CIFAR'
    assert entry(classifier(), name='senior').name == 'senior'
    path = tmp_path / 'resnet8_cifar.py'
    path.write_text(f'model = {classifier()!r}')
    assert entry(None, config=str(path)).name == 'resnet8_cifar'


def test_a_config_of_the_installed_package_is_found_by_its_name():
    from mmpretrain.models import ResNet

    student = build(classifier(num_classes=1000))
    task = ClassificationTask(TrueClassRanker())
    cfg = dict(config='mmpretrain::resnet/resnet18_8xb32_in1k.py', checkpoint=None)
    mentor = build_mentor(cfg, 'model.mentors[0]', student, task)
    assert mentor.name == 'resnet18_8xb32_in1k'
    assert isinstance(mentor.model.backbone, ResNet)
    # Its preprocessor stands beside its model, as in all of MMPretrain's configs.
    assert mentor.model.data_preprocessor.to_rgb
    assert mentor.view.identity


def test_weights_are_those_of_the_file(tmp_path):
    weights = build(classifier(), seed=5).state_dict()
    torch.save(weights, tmp_path / 'mentor.pth')
    mentor = entry(classifier(), checkpoint=str(tmp_path / 'mentor.pth'))
    for name, value in mentor.model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_of_a_classroom_s_config_the_student_is_taken(tmp_path):
    """So a student of one classroom teaches in the next."""
    path = tmp_path / 'classroom.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        f'data_preprocessor = {classifier(16).pop("data_preprocessor")!r}\n'
        "model = dict(type='mmkd_classroom.MultiMentorDistiller', mentors=[dict(nobody='there')],\n"
        f'    student={dict(classifier(16), data_preprocessor=None)!r})\n'
        "model['student'].pop('data_preprocessor')\n"
    )
    torch.save(build(classifier(16), seed=2).state_dict(), tmp_path / 'epoch_1.pth')
    mentor = entry(None, config=str(path), checkpoint=str(tmp_path / 'epoch_1.pth'))
    assert type(mentor.model).__name__ == 'ImageClassifier'
    assert mentor.view.identity


def test_a_mentor_keeps_its_own_normalisation():
    other = classifier()
    other['data_preprocessor'] = dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False
    )
    mentor = entry(other)
    assert not mentor.view.identity and mentor.view.flips
    raw = torch.rand(2, 3, 4, 4) * 255  # BGR
    mean, std = (
        torch.tensor(classifier()['data_preprocessor'][key]).view(1, 3, 1, 1)
        for key in ('mean', 'std')
    )
    torch.testing.assert_close(
        mentor.view((raw.flip(1) - mean) / std), (raw - 127.5) / 127.5, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(config='x.py'), r"lacks \['checkpoint'\]"),
        (dict(checkpoint='x.pth'), r"lacks \['config'\]"),
        (dict(config='x.py', checkpoint='x.pth', weights=1), r"unknown keys \['weights'\]"),
        (dict(config=dict(backbone=1), checkpoint=None), r'config has no `model`'),
        (dict(config=dict(model=1), checkpoint='zoo'), r"checkpoint is 'zoo'.*dict"),
    ],
)
def test_impossible_entries_are_named(cfg, message):
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[0\].*' + message):
        build_mentor(
            cfg, 'model.mentors[0]', build(classifier()), ClassificationTask(TrueClassRanker())
        )


def test_a_mentor_of_another_task_is_refused_before_its_weights_are_sought():
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\] is a TopdownPoseEstimator'):
        entry(estimator(), checkpoint='no_such_file.pth')
