"""The mentoring hook through real runs: its records, its schedules, its one warning."""

import json
import math
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from runs import config

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import MentoringHook

KEYS = {'active', 'score', 'rank', 'temperature', 'share', 'invalid'}


class Diary(Hook):
    """Writes down what the strategy had and the journal got in each iteration."""

    priority = 'ABOVE_NORMAL'  # before the mentoring hook reads the journal

    def __init__(self):
        self.weights, self.tau_maxes, self.lessons = [], [], []

    def before_train(self, runner):
        journal, add = runner.model.journal, runner.model.journal.add

        def note(statistics):
            self.lessons.append({name: value.clone() for name, value in statistics.items()})
            add(statistics)

        journal.add = note

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.weights.append(runner.model.strategy.weight)
        self.tau_maxes.append(getattr(runner.model.strategy, 'tau_max', None))


def run(folder, kind='classes', epochs=3, poison=None, strategy=None, **options):
    """Train for two steps an epoch; the runner, what the diary saw, and the records."""
    cfg = config(kind, folder, extra='', epochs=epochs)
    if strategy is not None:
        cfg.model.strategy = dict(type=strategy)
    (hook,) = [hook for hook in cfg.custom_hooks if hook.type.endswith('MentoringHook')]
    hook.update(options)
    cfg.train_cfg.val_interval = epochs
    runner = Runner.from_cfg(cfg)
    diary = Diary()
    runner.register_hook(diary)
    if poison is not None:
        poison(runner.model.bank)
    runner.train()
    lines = (Path(runner.log_dir) / 'mentoring.jsonl').read_text().splitlines()
    return runner, diary, [json.loads(line) for line in lines]


def test_records_are_means_over_the_interval(tmp_path, fresh_runners):
    runner, diary, records = run(tmp_path, interval=4)
    # Six steps: a record after the fourth, and one of what is left over.
    assert [(record['iter'], record['epoch']) for record in records] == [(4, 2), (6, 3)]
    for record, steps in zip(records, (slice(0, 4), slice(4, 6))):
        lessons = diary.lessons[steps]
        assert list(record['mentors']) == ['mentor_0', 'mentor_1']
        for index, values in enumerate(record['mentors'].values()):
            assert set(values) == KEYS
            for name in KEYS - {'invalid'}:
                mean = sum(lesson[name][index].item() for lesson in lessons) / len(lessons)
                assert values[name] == pytest.approx(mean, rel=1e-5)
            assert values['invalid'] == 0
            assert 0 <= values['active'] <= 1 <= values['temperature'] <= 5
        mean = sum(lesson['student_score'].item() for lesson in lessons) / len(lessons)
        assert record['student_score'] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_every_logger_and_visualizer_sees_them(kind, tmp_path, fresh_runners):
    runner, _, records = run(tmp_path, kind, epochs=1, interval=2)
    (record,) = records
    hub = runner.message_hub
    assert hub.get_scalar('train/student_score').current() == record['student_score']
    for name, values in record['mentors'].items():
        for key, value in values.items():
            assert hub.get_scalar(f'train/mentor/{name}/{key}').current() == value
    # LocalVisBackend's file and the text log, in the line of the same iteration.
    (file,) = Path(runner.log_dir).glob('vis_data/scalars.json')
    logged = [json.loads(line) for line in file.read_text().splitlines()]
    (line,) = [entry for entry in logged if 'mentor/mentor_1/rank' in entry]
    assert line['step'] == 2
    assert line['mentor/mentor_1/rank'] == pytest.approx(record['mentors']['mentor_1']['rank'])
    (log,) = Path(runner.log_dir).glob('*.log')
    assert 'student_score' in log.read_text() and 'mentor/mentor_0/share' in log.read_text()


def test_schedules_set_the_strategy_before_each_step(tmp_path, fresh_runners):
    weight = dict(type='linear', start=1.2, end=0.0, warmup=0.5)
    tau_max = dict(type='cosine', start=4.0, end=0.0)
    _, diary, records = run(tmp_path, interval=2, weight=weight, tau_max=tau_max)
    assert diary.weights == pytest.approx([0, 0.4, 0.8, 1.2, 0.8, 0.4])
    expected = [2 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert diary.tau_maxes == pytest.approx(expected)
    assert [record['weight'] for record in records] == pytest.approx([0.4, 1.2, 0.4])
    assert diary.lessons[0]['share'].tolist() == [0, 0]  # at weight 0 the mentors have no part
    assert 'tau_max' in records[0]


@pytest.mark.parametrize(
    'strategy, keys',
    [
        ('Average', {'weight', 'share', 'score', 'invalid'}),
        ('AMTML', {'weight', 'score', 'invalid'}),
    ],
)
def test_every_strategy_s_own_statistics_are_recorded(strategy, keys, tmp_path, fresh_runners):
    runner, diary, records = run(
        tmp_path, interval=2, epochs=1, strategy=f'mmkd_classroom.{strategy}'
    )
    (record,) = records
    assert set(record) == {'iter', 'epoch', 'student_score', 'mentors'}
    for index, values in enumerate(record['mentors'].values()):
        assert set(values) == keys
        mean = sum(lesson['weight'][index].item() for lesson in diary.lessons) / 2
        assert values['weight'] == pytest.approx(mean, rel=1e-5)
    assert runner.message_hub.get_scalar('train/student_score').current() == record['student_score']


def test_without_schedules_the_strategy_stays(tmp_path, fresh_runners):
    _, diary, records = run(tmp_path, epochs=1)
    assert diary.weights == [1.0] * 2 and diary.tau_maxes == [4.0] * 2
    assert 'weight' not in records[0] and 'tau_max' not in records[0]


def test_a_mentor_with_nan_is_counted_and_warned_of_once(tmp_path, fresh_runners):
    def poison(bank):
        def corrupt(module, args, output):
            output[:2] = float('nan')

        head = bank[1].model.head
        head.fc.register_forward_hook(corrupt)

    runner, diary, records = run(tmp_path, poison=poison, interval=2)
    # Two of the four samples of a batch, two batches a record.
    assert [record['mentors']['mentor_1']['invalid'] for record in records] == [4, 8, 12]
    assert [record['mentors']['mentor_0']['invalid'] for record in records] == [0, 0, 0]
    (log,) = Path(runner.log_dir).glob('*.log')
    warnings = [line for line in log.read_text().splitlines() if 'not finite' in line]
    assert len(warnings) == 1 and 'WARNING' in warnings[0] and 'Mentor mentor_1' in warnings[0]
    assert all(lesson['active'][1] <= 0.5 for lesson in diary.lessons)
    assert all(parameter.isfinite().all() for parameter in runner.model.parameters())
    assert all(math.isfinite(value) for value in records[-1]['mentors']['mentor_1'].values())


def test_a_model_without_mentors_is_named(tmp_path, fresh_runners):
    cfg = config('classes', tmp_path, extra='')
    cfg.model = cfg.model.student
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ClassroomError, match='model.type is ImageClassifier'):
        runner.train()


def test_a_strategy_without_the_scheduled_value_is_named(tmp_path, fresh_runners):
    cfg = config('classes', tmp_path, extra='')
    runner = Runner.from_cfg(cfg)
    del runner.model.strategy.tau_max
    runner.register_hook(MentoringHook(tau_max=1.0))
    with pytest.raises(ClassroomError, match=r"schedules \['tau_max'\].*ClassroomKD"):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(interval=0), r'MentoringHook\.interval is 0'),
        (dict(weight=-1), r'MentoringHook\.weight'),
        (dict(tau_max=dict(type='up', start=0, end=1)), r'MentoringHook\.tau_max\.type'),
        (dict(entrance=dict(num_samples=0)), r'entrance\.num_samples'),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ClassroomError, match=message):
        MentoringHook(**options)
