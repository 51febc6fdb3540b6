"""The mentoring hook through real runs: its records, its schedules, its one warning."""

import json
import math
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from runs import config

from mmkd_classroom import distiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import MentoringHook
from mmkd_classroom.hooks.records import RecordFile, summary

KEYS = {'active', 'score', 'rank_share', 'temperature', 'share', 'invalid'}


class Diary(Hook):
    """Writes down what the strategy had and the accumulator got in each iteration."""

    priority = 'ABOVE_NORMAL'  # before the mentoring hook reads the accumulator

    def __init__(self):
        self.weights, self.tau_maxes, self.statistics = [], [], []

    def before_train(self, runner):
        accumulator, add = runner.model.statistics, runner.model.statistics.add

        def note(statistics):
            self.statistics.append({name: value.clone() for name, value in statistics.items()})
            add(statistics)

        accumulator.add = note

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.weights.append(runner.model.strategy.weight)
        self.tau_maxes.append(getattr(runner.model.strategy, 'tau_max', None))


def run(folder, kind='classes', epochs=3, poison=None, strategy='ClassroomKD', extra='', **options):
    """Train for two steps an epoch; the runner, what the diary saw, and the records."""
    cfg = config(kind, folder, extra=extra, epochs=epochs)
    cfg.model.strategy = dict(type=strategy)
    (hook,) = [hook for hook in cfg.custom_hooks if hook.type.endswith('MentoringHook')]
    hook.update(options)
    cfg.train_cfg.val_interval = epochs
    runner = Runner.from_cfg(cfg)
    diary = Diary()
    runner.register_hook(diary)
    if poison is not None:
        poison(runner.model.mentors)
    runner.train()
    return runner, diary, read(Path(runner.work_dir) / 'mentoring.jsonl')


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def log_of(runner):
    (log,) = Path(runner.log_dir).glob('*.log')
    return log.read_text().splitlines()


def curves_of(runner):
    """Steps and values that LocalVisBackend, as any other, was given for the mentors."""
    lines = read(Path(runner.log_dir) / 'vis_data' / 'scalars.json')
    return {line['step']: line for line in lines if any(key.startswith('mentor/') for key in line)}


def test_records_are_means_over_the_interval(tmp_path, fresh_runners):
    runner, diary, records = run(tmp_path, interval=4)
    # Six steps: a record after the fourth, and one of what is left over.
    assert [(record['iter'], record['epoch']) for record in records] == [(4, 2), (6, 3)]
    for record, steps in zip(records, (slice(0, 4), slice(4, 6))):
        steps_of = diary.statistics[steps]
        assert list(record['mentors']) == ['mentor_0', 'mentor_1']
        for index, values in enumerate(record['mentors'].values()):
            assert set(values) == KEYS
            for name in KEYS - {'invalid'}:
                mean = sum(step[name][index].item() for step in steps_of) / len(steps_of)
                assert values[name] == pytest.approx(mean, rel=1e-5)
            assert values['invalid'] == 0
            assert 0 <= values['active'] <= 1 <= values['temperature'] <= 5
        mean = sum(step['student_score'].item() for step in steps_of) / len(steps_of)
        assert record['student_score'] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_every_backend_sees_them_all(kind, tmp_path, fresh_runners):
    """Also those of the last, shorter interval, after which no logger logs."""
    runner, _, records = run(tmp_path, kind, epochs=3, interval=4)
    assert [record['iter'] for record in records] == [4, 6]
    curves = curves_of(runner)
    assert list(curves) == [4, 6]
    for record in records:
        curve = curves[record['iter']]
        assert curve['student_score'] == record['student_score']
        for name, values in record['mentors'].items():
            assert {k: curve[f'mentor/{name}/{k}'] for k in values} == values
    hub = runner.message_hub
    assert hub.get_scalar('student_score').current() == records[-1]['student_score']
    for name, values in records[-1]['mentors'].items():
        for key, value in values.items():
            assert hub.get_scalar(f'mentor/{name}/{key}').current() == value


def test_the_log_has_one_line_a_record(tmp_path, fresh_runners):
    runner, _, records = run(tmp_path, interval=4)
    ours = [line for line in log_of(runner) if ' Mentors [' in line]
    assert len(ours) == len(records)
    for line, record in zip(ours, records):
        assert line.endswith(f'Mentors [{record["iter"]}/6]  {summary(record)}')
    (stock, *_) = [line for line in log_of(runner) if 'Epoch(train)' in line]
    assert 'loss_mentors: ' in stock and 'mentor/' not in stock and 'student_score' not in stock
    (*_, stock) = [line for line in log_of(runner) if 'Epoch(train)' in line]  # after a record
    assert float(re.search(r' mentor_time: ([\d.]+)', stock)[1]) > 0


def test_the_line_of_five_mentors_is_short():
    mentors = {
        name: dict(active=0.5, score=0.25, rank_share=1.2, temperature=2.0, share=0.1, invalid=0)
        for name in ('resnet50', 'hrnet-w32', 'hrnet-w48', 'vit-b', 'rtmpose-m')
    }
    record = dict(student_score=0.125, mentors=mentors)
    assert summary(record) == (
        'resnet50, hrnet-w32, hrnet-w48, vit-b, rtmpose-m: active 0.50 0.50 0.50 0.50 0.50 | '
        'score 0.25 0.25 0.25 0.25 0.25 (student 0.12) | share 0.10 0.10 0.10 0.10 0.10'
    )
    mentors['vit-b']['invalid'] = 3
    assert summary(record).endswith(' | invalid 0 0 0 3 0')


@pytest.mark.parametrize(
    'extra, options, iterations',
    [
        ("default_hooks['logger']['interval'] = 3", {}, [3, 6]),
        ("default_hooks['logger']['interval'] = 3", dict(interval=2), [2, 4, 6]),
        ("default_hooks['logger'] = None", {}, [6]),
    ],
)
def test_the_interval_is_the_logger_s_unless_set(
    extra, options, iterations, tmp_path, fresh_runners
):
    _, _, records = run(tmp_path, extra=extra, **{'interval': None, **options})
    assert [record['iter'] for record in records] == iterations


def test_a_resumed_run_goes_on_in_the_same_file(tmp_path, fresh_runners):
    strategy = 'RunningAdvantage'  # the default, which `classroom.py` leaves out
    _, _, whole = run(new(tmp_path / 'whole'), epochs=3, strategy=strategy)
    folder = new(tmp_path / 'parts')
    runner, _, first = run(folder, epochs=2, strategy=strategy)
    path = Path(runner.work_dir) / 'mentoring.jsonl'
    # It went on after its last checkpoint, and was killed in the middle of a record.
    with path.open('a') as file:
        file.write(json.dumps(dict(first[-1], iter=5)) + '\n' + '{"iter": 6, "ep')
    before = path.read_text()

    fresh_runners()
    cfg = Config.fromfile(folder / 'classroom.py')
    cfg.merge_from_dict({'work_dir': runner.work_dir, 'train_cfg.max_epochs': 3, 'resume': True})
    resumed = Runner.from_cfg(cfg)
    resumed.train()
    records = read(path)
    assert [record['iter'] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records == whole
    assert sorted(Path(runner.work_dir).rglob('mentoring*')) == [
        Path(resumed.log_dir) / 'mentoring_before.jsonl',
        path,
    ]
    assert (Path(resumed.log_dir) / 'mentoring_before.jsonl').read_text() == before
    (line,) = [line for line in log_of(resumed) if 'mentoring_before' in line]
    assert f'after iteration 4: 2 later records of {path} are dropped' in line


def test_a_crash_while_the_file_is_replaced_leaves_a_whole_one(tmp_path, monkeypatch):
    file = RecordFile(tmp_path)
    for iteration in (1, 2, 3):
        file.append(dict(iter=iteration, mentors=dict(a={})))
    before = file.path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            file.start(1, new(tmp_path / 'log'))
    assert file.path.read_text() == before
    file.start(1, tmp_path / 'log')
    assert read(file.path) == [dict(iter=1, mentors=dict(a={}))]
    assert file.start(1, tmp_path / 'log') == ''


def new(folder):
    folder.mkdir()
    return folder


class Loud:
    """A strategy's accumulator of which each reading is given."""

    steps = 1

    def __init__(self, shares):
        self.shares = iter(shares)

    def add(self, statistics):
        pass

    def read(self):
        share = next(self.shares)
        return dict(score=[0.5, 0.5], share=[share / 4, 3 * share / 4], student_score=0.5)


@pytest.mark.parametrize(
    'strategy, also',
    [('ClassroomKD', ' or model.strategy.tau_max (now 4)'), ('RunningAdvantage', '')],
)
def test_mentors_that_drown_the_labels_are_warned_of_once(
    strategy, also, tmp_path, fresh_runners, monkeypatch
):
    # It takes five records in a row, and more than 0.8.
    shares = [0.9] * 4 + [0.8] + [0.95] * 3 + [0.85] + [0.9] * 6
    monkeypatch.setattr(distiller, 'Statistics', lambda: Loud(shares))
    runner, _, records = run(tmp_path, epochs=7, strategy=strategy, interval=1, weight=2.0)
    assert len(records) == len(shares)
    log = [line for line in log_of(runner) if ' Mentors [' in line or 'whole loss' in line]
    (index,) = [index for index, line in enumerate(log) if 'whole loss' in line]
    assert index == 10 and ' - WARNING - ' in log[index]  # after the tenth record
    assert log[index].endswith(
        'The mentors make up more than 0.8 of the whole loss since 5 records: the student '
        f'hardly learns from its labels. Lower MentoringHook.weight (now 2){also}; '
        'this warning comes once.'
    )


def test_schedules_set_the_strategy_before_each_step(tmp_path, fresh_runners):
    weight = dict(type='linear', start=1.2, end=0.0, warmup=0.5)
    tau_max = dict(type='cosine', start=4.0, end=0.0)
    _, diary, records = run(tmp_path, interval=2, weight=weight, tau_max=tau_max)
    assert diary.weights == pytest.approx([0, 0.4, 0.8, 1.2, 0.8, 0.4])
    expected = [2 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert diary.tau_maxes == pytest.approx(expected)
    assert [record['weight'] for record in records] == pytest.approx([0.4, 1.2, 0.4])
    assert diary.statistics[0]['share'].tolist() == [0, 0]  # at weight 0 the mentors have no part
    assert 'tau_max' in records[0]


@pytest.mark.parametrize(
    'strategy, keys',
    [
        ('AVER', {'weight', 'share', 'score', 'invalid'}),
        ('RunningAdvantage', {'weight', 'share', 'score', 'invalid'}),
        ('AMTML', {'weight', 'share', 'score', 'invalid'}),
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
        mean = sum(step['weight'][index].item() for step in diary.statistics) / 2
        assert values['weight'] == pytest.approx(mean, rel=1e-5)
    assert runner.message_hub.get_scalar('student_score').current() == record['student_score']


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
    assert [record['mentors']['mentor_1']['invalid'] for record in records] == [4, 4, 4]
    assert [record['mentors']['mentor_0']['invalid'] for record in records] == [0, 0, 0]
    (log,) = Path(runner.log_dir).glob('*.log')
    warnings = [line for line in log.read_text().splitlines() if 'not finite' in line]
    assert len(warnings) == 1 and 'WARNING' in warnings[0] and 'Mentor mentor_1' in warnings[0]
    assert all(step['active'][1] <= 0.5 for step in diary.statistics)
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
    cfg.custom_hooks[-1].tau_max = 1.0
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ClassroomError, match=r"schedules \['tau_max'\].*RunningAdvantage"):
        runner.train()
    assert runner.iter == 0


def test_a_temperature_that_the_divergence_ignores_is_not_scheduled(tmp_path, fresh_runners):
    cfg = config('pose', tmp_path, extra='')
    cfg.model.divergence = dict(type='MSE')
    cfg.model.strategy = dict(type='mmkd_classroom.ClassroomKD')
    cfg.custom_hooks[-1].tau_max = 1.0
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ClassroomError, match=r'MentoringHook\.tau_max is not used by .*MSE'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(interval=0), r'MentoringHook\.interval is 0'),
        (dict(interval='50'), r"MentoringHook\.interval is '50': give a whole number"),
        (dict(weight=-1), r'MentoringHook\.weight'),
        (dict(tau_max=dict(type='up', start=0, end=1)), r'MentoringHook\.tau_max\.type'),
        (dict(mentor_check=dict(num_samples=0)), r'mentor_check\.num_samples'),
        (
            dict(mentor_check=dict(num_sample=8)),
            r"Hook\.mentor_check has no option 'num_sample' \(did you mean 'num_samples'\?\)",
        ),
        (dict(mentor_check=dict(samples=8, x=1)), r"no option 'samples' .*It takes: num_samples"),
        (dict(mentor_check=dict(num_samples='64')), r"mentor_check\.num_samples is '64'"),
        (dict(mentor_check=True), r'MentoringHook\.mentor_check is True: give dict\(\)'),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ClassroomError, match=message):
        MentoringHook(**options)
