"""Mentors that nothing trains, saves, copies or renames, but that move with the model."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from toys import build, class_batch, classifier, estimator

from mmkd_classroom.distiller import MultiMentorDistiller, student_of
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.mentors import Entry, distinct_names
from mmkd_classroom.mentors import bank as bank_module
from mmkd_classroom.mentors import entry as entry_module


def distiller(mentors=2):
    classroom = MultiMentorDistiller(
        student=build(classifier()),
        mentors=[dict(config=dict(model=classifier(16)), checkpoint=None) for _ in range(mentors)],
    )
    classroom.prepare(class_batch()[1])
    return classroom


def names_of(*names):
    """Those that mentors get whose entries have these."""
    entries = [
        Entry(f'model.mentors[{index}]', dict(name=name), Config(), None)
        for index, name in enumerate(names)
    ]
    return distinct_names(entries)


def snapshot(mentors):
    return [
        {name: tensor.clone() for name, tensor in mentor.model.state_dict().items()}
        for mentor in mentors
    ]


def test_a_mentor_is_frozen_from_the_start():
    mentor = entry(classifier())
    assert not any(module.training for module in mentor.model.modules())
    assert not any(parameter.requires_grad for parameter in mentor.model.parameters())


def test_a_prediction_has_no_graph_and_leaves_the_statistics_of_batchnorm():
    dropout = dict(dropout_rate=0.5, type='StackedLinearClsHead', mid_channels=[8])
    mentor = entry(classifier(**dropout))
    model = mentor.model
    before = snapshot([mentor])
    inputs = class_batch()[0].requires_grad_()
    first, second = (mentor.predict(inputs) for _ in '12')
    assert not first.logits[0].requires_grad
    assert torch.equal(*first.values, *second.values)  # no dropout
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), model.state_dict().values()))


def test_the_model_s_own_ways_do_not_reach_the_mentors():
    classroom = distiller()
    student = student_of(classroom)
    assert len(classroom.mentors) == 2
    assert list(map(id, classroom.parameters())) == list(map(id, student.parameters()))
    own = [*student.buffers(), *classroom.strategy.buffers()]
    assert list(map(id, classroom.buffers())) == list(map(id, own))
    assert classroom.state_dict().keys() == student.state_dict().keys()
    mentors = {id(module) for mentor in classroom.mentors for module in mentor.model.modules()}
    assert not mentors & {id(module) for module in classroom.modules()}
    before = snapshot(classroom.mentors)
    classroom.train().requires_grad_(True)
    classroom.init_weights()
    classroom.apply(lambda module: module.train())
    classroom.zero_grad()
    for mentor, saved in zip(classroom.mentors, before):
        assert not any(module.training for module in mentor.model.modules())
        assert not any(parameter.requires_grad for parameter in mentor.model.parameters())
        assert all(torch.equal(saved[k], v) for k, v in mentor.model.state_dict().items())


def test_a_deep_copy_shares_the_mentors():
    classroom = distiller()
    twin = copy.deepcopy(classroom)
    assert all(ours is theirs for ours, theirs in zip(twin.mentors, classroom.mentors))
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in classroom.parameters()}
    assert len(twin.state_dict()) == len(classroom.state_dict())


def test_a_copy_that_moves_leaves_them_where_they_are():
    """As EMA's model on another device does."""
    classroom = distiller()
    twin = copy.deepcopy(classroom).to('meta')
    assert next(twin.parameters()).device.type == 'meta'
    assert next(classroom.mentors[0].model.parameters()).device.type == 'cpu'
    assert classroom.loss(*class_batch())['loss_mentors'].isfinite()


@pytest.mark.parametrize('target', [torch.float64, 'meta'])
def test_mentors_move_with_the_model(target):
    classroom = distiller().to(target)
    inputs, samples = class_batch()
    for mentor in classroom.mentors:
        for tensor in mentor.model.state_dict().values():
            if target == 'meta':
                assert tensor.device.type == 'meta'
            elif tensor.is_floating_point():
                assert tensor.dtype == target
    if target == 'meta':
        samples = [sample.to('meta') for sample in samples]
    taught = classroom.loss(inputs.to(target), samples)['loss_mentors']
    assert taught.device.type == 'meta' if target == 'meta' else taught.dtype == target


def test_equal_names_are_told_apart(monkeypatch):
    said = []
    monkeypatch.setattr(entry_module, 'print_log', lambda message, *_: said.append(message))
    assert names_of('a') == ['a'] and not said
    assert names_of('a', 'b', 'a', 'a') == ['a_1', 'b', 'a_2', 'a_3']
    assert said == [
        "3 mentors are called 'a': model.mentors[0] is 'a_1' now, model.mentors[2] is 'a_2' now, "
        "model.mentors[3] is 'a_3' now. Give each a name of its own: name=..."
    ]


@pytest.mark.parametrize('names', [('a', 'a', 'a_1'), ('a_2', 'a', 'a'), ('a', 'a_1', 'a_1', 'a')])
def test_no_two_names_are_equal_in_the_end(names):
    assert len(set(names_of(*names))) == len(names)


def test_somebody_must_teach():
    with pytest.raises(ClassroomError, match=r'model\.mentors is empty'):
        built()


# --- one entry of model.mentors -----------------------------------------------------------------


def built(*cfgs, student=None):
    """The mentors of a classroom."""
    student = build(student or classifier())
    return MultiMentorDistiller(student=student, mentors=list(cfgs)).mentors


def entry(model, **cfg):
    return built(dict(dict(config=dict(model=model), checkpoint=None), **cfg))[0]


def test_names_come_from_the_entry_the_file_or_the_backbone(tmp_path):
    assert entry(classifier()).name == 'ResNet_CIFAR'
    assert entry(classifier(), name='senior').name == 'senior'
    path = tmp_path / 'resnet8_cifar.py'
    path.write_text(f'model = {classifier()!r}')
    assert entry(None, config=str(path)).name == 'resnet8_cifar'


def test_a_config_of_the_installed_package_is_found_by_its_name():
    from mmpretrain.models import ResNet

    cfg = dict(config='mmpretrain::resnet/resnet18_8xb32_in1k.py', checkpoint=None)
    mentor = built(cfg, student=classifier(num_classes=1000))[0]
    assert mentor.name == 'resnet18'
    assert isinstance(mentor.model.backbone, ResNet)
    # Its preprocessor stands beside its model, as in all of MMPretrain's configs.
    assert mentor.model.data_preprocessor.to_rgb
    assert mentor.input_adapter.identity


def test_weights_are_those_of_the_file(tmp_path):
    weights = build(classifier(), seed=5).state_dict()
    torch.save(weights, tmp_path / 'mentor.pth')
    mentor = entry(classifier(), checkpoint=str(tmp_path / 'mentor.pth'))
    for name, value in mentor.model.state_dict().items():
        assert torch.equal(value, weights[name])


def test_an_architecture_that_makes_buffers_anew_can_teach(tmp_path):
    """Swin V2 drops two of its buffers from whatever it loads."""
    arch = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2], extra_norm_every_n_blocks=0)
    backbone = dict(
        type='SwinTransformerV2', arch=arch, img_size=16, patch_size=2, window_size=4,
        out_indices=(1,),
    )  # fmt: skip
    model = dict(classifier(2), backbone=backbone)
    senior = MODELS.build(model)
    torch.save(senior.state_dict(), tmp_path / 'swin.pth')
    mentor = entry(model, checkpoint=str(tmp_path / 'swin.pth'))
    inputs = class_batch()[0]
    expected = senior.eval()(mentor.input_adapter(inputs))
    torch.testing.assert_close(mentor.predict(inputs).logits[0][:, 0], expected)


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
    assert mentor.input_adapter.identity


def test_a_mentor_keeps_its_own_normalisation():
    other = classifier()
    other['data_preprocessor'] = dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False
    )
    mentor = entry(other)
    assert not mentor.input_adapter.identity and mentor.input_adapter.flips
    raw = torch.rand(2, 3, 4, 4) * 255  # BGR
    mean, std = (
        torch.tensor(classifier()['data_preprocessor'][key]).view(1, 3, 1, 1)
        for key in ('mean', 'std')
    )
    torch.testing.assert_close(
        mentor.input_adapter((raw.flip(1) - mean) / std), (raw - 127.5) / 127.5, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize('beside', [True, False])
def test_the_preprocessor_may_stand_beside_the_student(beside):
    """As the classroom itself takes it."""
    student = classifier(16)
    preprocessor = dict(student.pop('data_preprocessor'), to_rgb=False)
    model = dict(type='mmkd_classroom.MultiMentorDistiller', student=student, mentors=['nobody'])
    if beside:
        model['data_preprocessor'] = preprocessor
    other = classifier()['data_preprocessor']
    mentor = entry(None, config=dict(model=model, data_preprocessor=other))
    assert mentor.input_adapter.flips == beside


def test_a_mentor_of_another_task_is_refused_before_its_weights_are_fetched():
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\] is a TopdownPoseEstimator'):
        entry(estimator(), checkpoint='http://127.0.0.1:9/no_such_file.pth')


# --- all of them at once ------------------------------------------------------------------------


def test_one_message_tells_all_that_is_wrong():
    right = dict(config=dict(model=classifier()), checkpoint=None)
    with pytest.raises(ClassroomError) as caught:
        built(
            dict(right, checkpoint='a.pth'),
            right,
            dict(right, checkpoint='b.pth'),
            dict(right, chekpoint='c.pth'),
            3,
        )
    first, *parts = str(caught.value).split('\n\n')
    assert first == '4 things are wrong:'
    starts = [
        "1. model.mentors[0].checkpoint = 'a.pth': there is no such file",
        "2. model.mentors[2].checkpoint = 'b.pth': there is no such file",
        "3. model.mentors[3] has the unknown key 'chekpoint' (did you mean 'checkpoint'?)",
        '4. model.mentors[4] is 3.',
    ]
    assert len(parts) == len(starts)
    for part, start in zip(parts, starts):
        assert part.startswith(start)


def test_also_of_models_and_of_weights(tmp_path):
    other = dict(config=dict(model=estimator()), checkpoint=None)
    right = dict(config=dict(model=classifier()), checkpoint=None)
    message = r'2 things.*1\. model\.mentors\[0\] is a Top.*2\. model\.mentors\[2\] is a Top'
    with pytest.raises(ClassroomError, match=f'(?s){message}'):
        built(other, right, other)
    torch.save(build(classifier(16)).state_dict(), tmp_path / 'wide.pth')
    wide = dict(right, checkpoint=str(tmp_path / 'wide.pth'))
    message = (
        r'2 things.*1\. model\.mentors\[1\]\.chec.*2\. model\.mentors\[2\]\.chec.*size mismatch'
    )
    with pytest.raises(ClassroomError, match=f'(?s){message}'):
        built(right, wide, wide)


def test_what_is_cheap_to_check_is_checked_first(monkeypatch):
    def expensive(*_):
        pytest.fail('a model was built')

    monkeypatch.setattr(bank_module, 'build_mentor', expensive)
    right = dict(config=dict(model=classifier()), checkpoint=None)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[1\]\.checkpoint'):
        built(right, dict(right, checkpoint='no_such_file.pth'))


@pytest.mark.parametrize('mentors', [dict(config='x.py', checkpoint=None), 'mmpretrain::x.py'])
def test_mentors_without_brackets(mentors):
    with pytest.raises(ClassroomError, match=r'model\.mentors is .*, not a list: write \[dict\('):
        MultiMentorDistiller(student=build(classifier()), mentors=mentors)


# --- a config whose model does not build --------------------------------------------------------


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(type='mmpretrain.ImageClasifier'), r'KeyError: mmpretrain\.ImageClasifier is not in'),
        (dict(head=dict(type='LinearClsHead', num_classes=4)), r'TypeError: .*in_channels'),
        (dict(neck=dict()), r'KeyError: `cfg` or `default_args` must contain the key "type"'),
        (dict(backbone=dict(type='ResNet', depth=17)), r'KeyError: .*17'),
        (dict(backbone=None), r'TypeError: cfg should be a dict'),
    ],
)
def test_errors_of_stock_code_name_the_mentor(change, message):
    start = r'^model\.mentors\[0\]\.config: its model cannot be built \('
    with pytest.raises(ClassroomError, match=start + message) as caught:
        entry(dict(classifier(), **change))
    assert 'must build by itself in the stock tools' in str(caught.value)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 900


def test_a_missing_file_is_told_so_too():
    def missing(**_):
        return open('no_such_file.txt')

    with pytest.raises(ClassroomError, match=r'mentors\[0\]\.config.*FileNotFoundError: .*no_such'):
        entry(dict(type=missing))
