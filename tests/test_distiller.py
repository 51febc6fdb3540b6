"""A classroom as the model that MMEngine sees: its student, with its mentors in its loss."""

import copy
import logging
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS as MMENGINE_MODELS
from toys import (
    SETTINGS,
    build,
    class_batch,
    classifier,
    classroom_of,
    estimator,
    gradient,
    packed,
    person,
    total,
)

from mmkd_classroom import distiller
from mmkd_classroom.benchmark.plan import remove_mentors
from mmkd_classroom.distiller import Classroom, MultiMentorDistiller, student_config, student_of
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import MentoringHook

both = pytest.mark.parametrize('kind', SETTINGS)


# --- a classroom is its student -----------------------------------------------------------------


@both
def test_it_is_an_object_of_its_student_s_class(kind):
    stock = build(SETTINGS[kind]['model']())
    classroom = classroom_of(kind)
    assert isinstance(classroom, type(stock))
    assert type(classroom) is type(classroom_of(kind))
    for find in (torch.nn.Module.named_parameters, torch.nn.Module.named_buffers):
        assert [name for name, _ in find(classroom)] == [name for name, _ in find(stock)]
    modules = [name for name, _ in classroom.named_modules()]
    assert modules == [*(name for name, _ in stock.named_modules()), 'strategy']


@both
def test_copies_and_pickles_are_classrooms_of_their_own(kind):
    classroom = classroom_of(kind, mentors=1)
    inputs, samples = SETTINGS[kind]['batch']()
    expected = total(classroom.eval(), inputs, samples)
    others = [copy.deepcopy(classroom)]
    if kind == 'classes':  # conversions between heads are functions within functions
        others.append(pickle.loads(pickle.dumps(classroom)))
    for other in others:
        assert type(other) is type(classroom)
        assert torch.equal(total(other, inputs, samples), expected)
        with torch.no_grad():
            next(other.parameters()).zero_()
    assert torch.equal(total(classroom, inputs, samples), expected)


@both
def test_the_plain_student_shares_its_weights(kind):
    classroom = classroom_of(kind)
    student = student_of(classroom)
    assert type(student) is type(build(SETTINGS[kind]['model']()))
    assert list(map(id, student.parameters())) == list(map(id, classroom.parameters()))
    assert list(student.state_dict()) == list(classroom.state_dict())
    inputs, samples = SETTINGS[kind]['batch']()
    assert 'loss_mentors' not in student(inputs, samples, mode='loss')


def test_hooks_reach_the_student_s_parts():
    """MMPretrain's ``SwitchRecipeHook`` puts another loss into ``model.head``."""
    from mmpretrain.engine import SwitchRecipeHook

    classroom = classroom_of('classes')
    inputs, samples = class_batch()
    before = classroom.eval()(inputs, samples, mode='loss')
    hook = SwitchRecipeHook(
        [dict(action_epoch=1, loss=dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.3))]
    )
    runner = SimpleNamespace(model=classroom, epoch=0, logger=logging.getLogger('test'))
    hook.before_train_epoch(runner)
    after = classroom(inputs, samples, mode='loss')
    stock = student_of(classroom)(inputs, samples, mode='loss')
    assert torch.equal(after['loss_student'], stock['loss'])
    assert after['loss_student'] != before['loss_student']
    assert after['loss_mentors'] == before['loss_mentors']


def test_the_log_shows_the_whole_loss():
    classroom = classroom_of('classes')
    inputs, samples = class_batch()
    whole, logs = classroom.parse_losses(classroom(inputs, samples, mode='loss'))
    assert logs['loss'] == whole == logs['loss_student'] + logs['loss_mentors']


# --- a checkpoint is a student ------------------------------------------------------------------


@both
def test_the_state_dict_is_the_student_s(kind):
    classroom = classroom_of(kind)
    ours, stock = classroom.state_dict(), student_of(classroom).state_dict()
    assert list(ours) == list(stock)
    assert all(ours[name].data_ptr() == stock[name].data_ptr() for name in ours)
    assert dict(ours._metadata) == dict(
        stock._metadata
    )  # the versions that stock modules migrate by


@both
def test_it_loads_a_student_s_and_a_student_loads_it(kind):
    classroom, student = classroom_of(kind), build(SETTINGS[kind]['model'](), seed=7)
    weights = copy.deepcopy(student.state_dict())
    classroom.load_state_dict(weights, strict=True)
    assert all(torch.equal(classroom.state_dict()[name], weights[name]) for name in weights)
    assert list(weights) == list(student.state_dict())  # the caller's dict is left alone
    other = build(SETTINGS[kind]['model'](), seed=8)
    other.load_state_dict(classroom.state_dict(), strict=True)
    assert all(torch.equal(other.state_dict()[name], weights[name]) for name in weights)


@both
def test_a_key_too_many_or_too_few_is_noticed(kind):
    classroom = classroom_of(kind)
    weights = classroom.state_dict()
    name = next(iter(weights))
    missing = {key: value for key, value in weights.items() if key != name}
    with pytest.raises(RuntimeError, match='Missing key'):
        classroom.load_state_dict(missing, strict=True)
    with pytest.raises(RuntimeError, match='Unexpected key'):
        classroom.load_state_dict({**weights, 'surplus': torch.zeros(1)}, strict=True)
    result = classroom.load_state_dict(missing, strict=False)
    assert len(result.missing_keys) == 1 and not result.unexpected_keys


@both
@pytest.mark.parametrize('update_buffers', [False, True])
def test_an_averaged_classroom_is_an_averaged_student(kind, update_buffers):
    classroom = classroom_of(kind)
    options = dict(momentum=0.5, update_buffers=update_buffers)
    average = ExponentialMovingAverage(classroom, **options)
    stock = ExponentialMovingAverage(copy.deepcopy(student_of(classroom)), **options)
    assert list(average.module.mentors) == list(classroom.mentors)
    assert len(list(average.parameters())) == len(list(student_of(classroom).parameters()))
    assert list(average.state_dict()) == list(stock.state_dict())
    for step in range(3):
        weights = build(SETTINGS[kind]['model'](), seed=10 + step).state_dict()
        classroom.load_state_dict(weights)
        average.update_parameters(classroom)
        stock.update_parameters(student_of(classroom))
    for name, value in stock.state_dict().items():
        assert torch.equal(average.state_dict()[name], value)
    stock.load_state_dict(average.state_dict(), strict=True)
    average.load_state_dict(stock.state_dict(), strict=True)


def test_versions_reach_the_student_s_modules():
    """By them stock modules migrate old checkpoints."""
    seen = []
    classroom = classroom_of('pose')
    student_of(classroom).head._register_load_state_dict_pre_hook(
        lambda state, prefix, metadata, *_: seen.append((prefix, metadata.get('version')))
    )
    stock = build(estimator())
    classroom.load_state_dict(stock.state_dict())
    assert stock.head._version == 2 and seen == [('head.', 2)]


# --- the loss -----------------------------------------------------------------------------------


@both
def test_the_loss_is_the_student_s_and_the_mentors(kind):
    classroom = classroom_of(kind, weight=0.5)
    stock = copy.deepcopy(student_of(classroom))
    inputs, samples = SETTINGS[kind]['batch']()
    losses = classroom(inputs, samples, mode='loss')
    own = stock.loss(inputs, samples)
    own.pop('acc_pose', None)
    if kind == 'classes':  # MMEngine's log has `loss` for the sum
        own['loss_student'] = own.pop('loss')
    assert losses.keys() == {*own, 'loss_mentors'}
    for name, value in own.items():
        torch.testing.assert_close(losses[name], value)
    assert losses['loss_mentors'] > 0 and losses['loss_mentors'].requires_grad
    for ours, theirs in zip(classroom.buffers(), stock.buffers()):  # BatchNorm saw it once
        assert torch.equal(ours, theirs)


@both
def test_mentors_see_their_own_view_of_the_batch(kind):
    model = dict(SETTINGS[kind]['model'](16))
    model['data_preprocessor'] = dict(
        model['data_preprocessor'], mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0]
    )
    config = dict(config=dict(model=model), checkpoint=None)
    classroom = MultiMentorDistiller(student=build(SETTINGS[kind]['model']()), mentors=[config])
    classroom.prepare(SETTINGS[kind]['batch']()[1])
    seen = []
    classroom.mentors[0].model.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    inputs, samples = SETTINGS[kind]['batch']()
    classroom(inputs, samples, mode='loss')
    mean, std = (
        torch.tensor(SETTINGS[kind]['model']()['data_preprocessor'][key]).view(1, 3, 1, 1)
        for key in ('mean', 'std')
    )
    expected = (inputs * std + mean - torch.tensor([10.0, 20, 30]).view(1, 3, 1, 1)) / (
        torch.tensor([50.0, 60, 70]).view(1, 3, 1, 1)
    )
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('task_weight', ['one', 'score'])
@pytest.mark.parametrize(
    'kind, granularity', [('classes', 'sample'), ('pose', 'sample'), ('pose', 'keypoint')]
)
def test_a_batch_is_the_mean_of_its_samples(kind, granularity, task_weight):
    classroom = classroom_of(kind, granularity=granularity, task_weight=task_weight)
    classroom.double().eval()  # BatchNorm of the student's own would join the samples
    inputs, samples = SETTINGS[kind]['batch'](5)
    inputs = inputs.double()
    if kind == 'pose':
        samples = [sample.to(torch.float64) for sample in samples]
    whole = total(classroom, inputs, samples)
    whole.backward()
    expected_gradient = gradient(classroom)
    classroom.zero_grad()
    alone = [total(classroom, inputs[[i]], samples[i : i + 1]) / 5 for i in range(5)]
    sum(alone).backward()
    assert whole.item() == pytest.approx(sum(alone).item(), rel=0, abs=1e-6)
    assert np.std([value.item() for value in alone]) > 1e-3
    difference = (gradient(classroom) - expected_gradient).abs().max()
    assert difference < 1e-6 < expected_gradient.abs().max()


@both
def test_a_broken_mentor_leaves_the_rest_of_the_batch_alone(kind):
    """As if those samples had no such mentor; every number stays finite."""
    classroom = classroom_of(kind, mentors=1, filter=False).eval()
    inputs, samples = SETTINGS[kind]['batch'](4, **(dict(unlabelled=0) if kind == 'pose' else {}))
    whole = [total(classroom, inputs[[i]], samples[i : i + 1]).item() for i in range(4)]
    own = [
        classroom.parse_losses(student_of(classroom).loss(inputs[[i]], samples[i : i + 1]))[
            0
        ].item()
        for i in range(4)
    ]
    broken = inputs.clone()

    def poison(module, args, output):
        output = list(output) if isinstance(output, tuple) else output
        output[-1][1] = float('nan')
        return tuple(output)

    classroom.mentors[0].model.backbone.register_forward_hook(poison)
    classroom.statistics.read()
    loss = total(classroom, broken, samples)
    loss.backward()
    assert gradient(classroom).isfinite().all()
    assert loss.item() == pytest.approx((whole[0] + own[1] + whole[2] + whole[3]) / 4, rel=1e-5)
    assert whole[1] > own[1] + 1e-3
    assert classroom.statistics.read()['invalid'] == [1]


@both
def test_mixed_precision_is_close_to_full(kind):
    classroom = classroom_of(kind, task_weight='score').eval()
    inputs, samples = SETTINGS[kind]['batch']()
    full = total(classroom, inputs, samples).item()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = total(classroom, inputs, samples)
    loss.backward()
    assert gradient(classroom).isfinite().all()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(full, rel=0.1)


@both
def test_a_train_step_of_mmengine_trains_the_student_alone(kind):
    classroom = classroom_of(kind)
    before = copy.deepcopy(student_of(classroom).state_dict())
    mentors = [copy.deepcopy(mentor.model.state_dict()) for mentor in classroom.mentors]
    optimizer = OptimWrapper(torch.optim.SGD(classroom.parameters(), lr=0.1))
    inputs, samples = SETTINGS[kind]['batch']()
    images = [(image.clamp(-2, 2) * 60 + 127).byte() for image in inputs]
    logs = classroom.train_step(dict(inputs=images, data_samples=samples), optimizer)
    assert 'loss' in logs and 'loss_mentors' in logs
    assert not torch.equal(
        *(state[next(iter(before))] for state in (before, classroom.state_dict()))
    )
    for mentor, saved in zip(classroom.mentors, mentors):
        assert all(torch.equal(saved[k], v) for k, v in mentor.model.state_dict().items())


@both
def test_accumulated_halves_are_the_whole_batch(kind):
    inputs, samples = SETTINGS[kind]['batch'](4)
    images = [(image.clamp(-2, 2) * 60 + 127).byte() for image in inputs]
    trained = []
    for size in (4, 2):
        classroom = classroom_of(kind, task_weight='score').eval()
        optimizer = OptimWrapper(
            torch.optim.SGD(classroom.parameters(), lr=0.1), accumulative_counts=4 // size
        )
        optimizer.initialize_count_status(classroom, 0, 4 // size)
        for start in range(0, 4, size):
            part = slice(start, start + size)
            data = dict(inputs=images[part], data_samples=copy.deepcopy(samples[part]))
            classroom.train_step(data, optimizer)
        trained.append(torch.nn.utils.parameters_to_vector(classroom.parameters()))
    start = torch.nn.utils.parameters_to_vector(classroom_of(kind).parameters())
    assert (trained[0] - trained[1]).abs().max() < 1e-5 < (trained[0] - start).abs().max()


@both
def test_everything_but_the_loss_is_the_student_s(kind):
    classroom = classroom_of(kind).eval()
    inputs, samples = SETTINGS[kind]['batch'](2)
    with torch.no_grad():
        assert torch.equal(
            classroom(inputs, samples, mode='tensor'),
            student_of(classroom)(inputs, samples, mode='tensor'),
        )
        ours = classroom(inputs, copy.deepcopy(samples), mode='predict')
        stock = student_of(classroom)(inputs, copy.deepcopy(samples), mode='predict')
    for one, other in zip(ours, stock):
        if kind == 'classes':
            assert torch.equal(one.pred_score, other.pred_score)
        else:
            np.testing.assert_array_equal(
                one.pred_instances.keypoints, other.pred_instances.keypoints
            )


@both
def test_statistics_are_added_up(kind):
    classroom = classroom_of(kind, mentors=3)
    inputs, samples = SETTINGS[kind]['batch']()
    for _ in range(2):
        classroom(inputs, samples, mode='loss')
    means = classroom.statistics.read()
    assert isinstance(means.pop('student_score'), float)
    assert {name: len(values) for name, values in means.items()} == dict(
        active=3, score=3, rank_share=3, temperature=3, share=3, invalid=3, constant=3, huge=3
    )


def test_samples_are_checked_before_the_first_loss():
    classroom = classroom_of('pose')
    sample = packed(person(), pack_transformed=False)['data_samples']
    with pytest.raises(ClassroomError, match='pack_transformed=True'):
        classroom.prepare([sample])


# --- how it is built ----------------------------------------------------------------------------


def test_the_preprocessor_may_stand_beside_the_model_as_in_mmpretrain():
    student = classifier()
    preprocessor = student.pop('data_preprocessor')
    classroom = MultiMentorDistiller(
        student=student,
        mentors=[dict(config=dict(model=classifier()), checkpoint=None)],
        ranker=SETTINGS['classes']['ranker'],
        strategy=dict(type='mmkd_classroom.ClassroomKD'),
        data_preprocessor=preprocessor,
    )
    assert classroom.data_preprocessor is student_of(classroom).data_preprocessor
    assert classroom.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        preprocessor['mean']
    )
    assert classroom.mentors[0].input_adapter.identity


@both
def test_built_by_its_name_alone(kind):
    setting = SETTINGS[kind]
    classroom = MMENGINE_MODELS.build(
        dict(
            type='mmkd_classroom.MultiMentorDistiller',
            student=setting['model'](),
            mentors=[dict(config=dict(model=setting['model']()), checkpoint=None)],
            ranker=setting['ranker'],
            strategy=dict(type='mmkd_classroom.ClassroomKD', granularity='batch'),
        )
    )
    assert isinstance(classroom, Classroom)
    assert classroom.strategy.granularity == 'batch'


def test_the_student_keeps_the_preprocessor_that_the_classroom_gives_it():
    """Without it, MMPretrain's would not normalise."""
    student = classifier()
    preprocessor = student.pop('data_preprocessor')
    mentors = [dict(config=dict(model=classifier(16)), checkpoint=None)]
    model = dict(type='mmkd_classroom.MultiMentorDistiller', student=student, mentors=mentors)
    cfg = Config(dict(model=dict(model, data_preprocessor=preprocessor)))
    assert student_config(cfg).model.data_preprocessor == preprocessor
    alone = copy.deepcopy(cfg)
    remove_mentors(alone)
    assert alone.model.data_preprocessor == preprocessor
    own = dict(preprocessor, std=[1.0, 2.0, 3.0])
    cfg.model.student.data_preprocessor = own
    assert student_config(cfg).model.data_preprocessor == own


def test_a_preprocessor_that_is_not_used_is_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr(distiller, 'print_log', lambda text, *_: said.append(text))
    mentors = [dict(config=dict(model=classifier(16)), checkpoint=None)]
    own = classifier()['data_preprocessor']
    MultiMentorDistiller(classifier(), mentors, data_preprocessor=own)
    assert not said
    given = dict(own, std=[1.0, 2.0, 3.0])
    model = MultiMentorDistiller(classifier(), mentors, data_preprocessor=given)
    assert 'data_preprocessor is not used' in said[0]
    assert model.data_preprocessor.std.flatten().tolist() == pytest.approx(own['std'])


@both
def test_a_student_may_start_from_a_whole_checkpoint(kind, tmp_path):
    """By its own `init_cfg`; that of the backbone loads only this part."""
    student, mentor = SETTINGS[kind]['model'](), SETTINGS[kind]['model']()
    torch.save(dict(state_dict=build(student, seed=7).state_dict()), tmp_path / 'whole.pth')
    student['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'whole.pth'))
    mentors = [dict(config=dict(model=mentor), checkpoint=None)]
    classroom = MultiMentorDistiller(student, mentors)
    classroom.init_weights()
    for name, value in build(SETTINGS[kind]['model'](), seed=7).state_dict().items():
        assert torch.equal(classroom.state_dict()[name], value), name


def test_student_config_sends_the_mentors_home():
    classroom = Config(
        dict(
            model=dict(
                type='mmkd_classroom.MultiMentorDistiller', student=dict(type='Stock'), mentors=[1]
            ),
            custom_hooks=[
                dict(type='EMAHook'),
                dict(type='mmkd_classroom.MentoringHook'),
                dict(type='mmkd_classroom.PlainCheckpointHook'),
            ],
            other=1,
        )
    )
    before = copy.deepcopy(classroom.to_dict())
    student = student_config(classroom)
    assert student.model == dict(type='Stock') and student.other == 1
    assert [hook.type for hook in student.custom_hooks] == ['EMAHook']
    assert classroom.to_dict() == before
    # A lazy config holds the classes themselves.
    lazy = dict(type=MultiMentorDistiller, student=dict(type='Stock'), mentors=[1])
    hooks = [dict(type=MentoringHook), dict(type=EMAHook)]
    student = student_config(Config(dict(model=lazy, custom_hooks=hooks)))
    assert student.model == dict(type='Stock')
    assert [hook.type for hook in student.custom_hooks] == [EMAHook]
    assert student_config(student).to_dict() == student.to_dict()
    assert student_config(Config(dict(model=dict(type='Stock')))).model == dict(type='Stock')
