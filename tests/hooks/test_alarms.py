"""Bad mentors and a diverging student: each is said once, by name, within one interval."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from runs import config
from toys import build, estimator, pose_batch

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import count_anomalies
from mmkd_classroom.functional.anomalies import HUGE
from mmkd_classroom.hooks.alarms import Alarms


def some(value):
    """Two of the four samples of a batch."""

    def corrupt(step, output):
        output[:2] = value

    return corrupt


def all_samples(value, since=0):
    def corrupt(step, output):
        if step >= since:
            output[:] = value

    return corrupt


def same_answer(step, output):
    output[:] = output[:1]


# What each mentor does, the name of its statistic, and the samples of each record of two steps.
BAD = dict(
    nan_on_some=(some(float('nan')), 'invalid', [4, 4, 4]),
    inf_on_all=(all_samples(float('inf')), 'invalid', [8, 8, 8]),
    nan_since_the_fourth_step=(all_samples(float('nan'), since=3), 'invalid', [0, 4, 8]),
    zeros=(all_samples(0.0), 'constant', [8, 8, 8]),
    constant_on_some=(some(3.0), 'constant', [4, 4, 4]),
    constant_since_the_third_step=(all_samples(-1.0, since=2), 'constant', [None, 8, 8]),
    same_answer=(same_answer, 'constant', [8, 8, 8]),
    huge=(some(torch.tensor([1e6, 0.0, -1e6])), 'huge', [4, 4, 4]),
)


def train(folder, bad=(), hook=None, **options):
    """Three epochs of two steps, a record each; the Runner."""
    cfg = config('classes', folder, epochs=3)
    entry = cfg.model.mentors[0]
    if bad:
        cfg.model.mentors = [dict(entry, name=name) for name in ['good', *bad]]
    cfg.custom_hooks[-1].update(interval=2, **options)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    runner = Runner.from_cfg(cfg)
    for mentor in runner.model.mentors:
        if mentor.name in bad:
            poison(mentor, BAD[mentor.name][0])
    if hook is not None:
        runner.register_hook(hook, priority='VERY_LOW')
    runner.train()
    return runner


def poison(mentor, corrupt):
    calls = iter(range(10**6))

    def hook(module, args, output):
        if len(output) == 4:  # a training step, and not the count of operations before
            corrupt(next(calls), output)

    mentor.model.head.fc.register_forward_hook(hook)


def warnings_of(folder):
    (log,) = (folder / 'work').glob('*/*.log')
    return [line for line in log.read_text().splitlines() if ' - WARNING - ' in line]


def test_each_bad_mentor_is_said_once_by_name(tmp_path, fresh_runners):
    runner = train(tmp_path, BAD)
    lines = (Path(runner.work_dir) / 'mentoring.jsonl').read_text().splitlines()
    records = [json.loads(line)['mentors'] for line in lines]
    said = [line for line in warnings_of(tmp_path) if 'Mentor ' in line]
    for name, (_, statistic, expected) in BAD.items():
        assert [record[name].get(statistic) for record in records] == expected, name
        (line,) = [line for line in said if f'Mentor {name} gave ' in line]
        first = next(count for count in expected if count)
        assert f'for {first} samples' in line and line.endswith('this warning comes once.')
    assert len(said) == len(BAD)
    assert not records[0]['good'].keys() & {'constant', 'huge'}
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.parametrize('name', ['nan_since_the_fourth_step', 'zeros', 'huge'])
def test_a_bad_mentor_stops_the_training_if_told_to(name, tmp_path, fresh_runners):
    with pytest.raises(ClassroomError, match=rf'Mentor {name} gave .*stop_on_alarm is set') as stop:
        train(tmp_path, [name], stop_on_alarm=True)
    assert f'iteration {4 if "fourth" in name else 2} ' in str(stop.value)
    assert not list((tmp_path / 'work').glob('epoch_3.pth'))


class Diverge(Hook):
    """A weight of the student becomes NaN after the third step."""

    def after_train_iter(self, runner, **kwargs):
        if runner.iter == 2:
            runner.model.backbone.conv1.weight.data[:] = float('nan')


def test_a_student_that_diverges_is_said_once(tmp_path, fresh_runners):
    train(tmp_path, hook=Diverge())
    said = [line for line in warnings_of(tmp_path) if "The student's losses" in line]
    assert len(said) == 1
    assert 'are not finite since iteration 4 (' in said[0] and 'loss_student' in said[0]


def test_a_student_that_diverges_stops_if_told_to(tmp_path, fresh_runners):
    with pytest.raises(ClassroomError, match='not finite since iteration 4 .*stops at iteration 4'):
        train(tmp_path, hook=Diverge(), stop_on_alarm=True)


def test_a_loss_of_one_step_is_found_in_its_interval():
    hub = MessageHub('one_step')
    for value in [np.nan, 1.0, 2.0, np.inf, 3.0]:
        hub.update_scalar('train/loss', value)
        hub.update_scalar('train/lr', np.nan)
    said = []

    class Logger:
        warning = said.append

    runner = type('Runner', (), dict(message_hub=hub, logger=Logger))
    alarms = Alarms(stop=False)
    alarms.check(runner, dict(iter=25, mentors={}), steps=1)
    assert said == []
    alarms.check(runner, dict(iter=25, mentors={}), steps=4)
    assert 'since iteration 24 (loss).' in said[0]


def test_anomalies_are_counted():
    valid = torch.tensor([True, True, False, True])
    output = torch.tensor([[1.0, 2.0], [3.0, 3.0], [0.0, 0.0], [-2e4, 0.0]])
    assert [count.item() for count in count_anomalies([output], valid)] == [1, 1]
    # Of two outputs, such as the axes of SimCC, one may be constant, such as a deviation.
    assert count_anomalies([output, torch.zeros(4, 3, 2)], valid)[0] == 1
    assert count_anomalies([torch.zeros(4, 2), torch.ones(4, 3, 2)], valid)[0] == 3
    same = output[:1].repeat(4, 1)
    assert count_anomalies([same], valid)[0] == 3
    assert count_anomalies([output[:, :1]], valid)[0] == 0  # one value a sample is not constant
    # A batch of one is not the same as others.
    assert count_anomalies([same[:1]], valid[:1])[0] == 0


def test_what_a_conversion_draws_is_not_the_mentor_s_output():
    """A joint is drawn for the student as a density whose logarithm is far below 0."""
    narrow = dict(type='RLELoss', use_target_weight=True, q_distribution='gaussian')
    classroom = MultiMentorDistiller(
        student=build(estimator(codec_name='rle', loss=narrow)),
        mentors=[dict(checkpoint=None, config=dict(model=estimator(codec_name='point')))],
    )
    inputs, samples = pose_batch(2, codec_name='rle')
    classroom.prepare(samples)
    classroom(inputs, samples, mode='loss')
    (mentor,) = classroom.mentors.predict(inputs)
    assert min(values.min() for values in mentor.values) < -HUGE  # otherwise nothing is tested
    assert classroom.statistics.read()['huge'] == [0]
