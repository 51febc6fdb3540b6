"""The summary on one screen, and TensorBoard's charts of all mentors."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from runs import config

from mmkd_classroom.hooks.final_summary import final_summary
from mmkd_classroom.hooks.tensorboard import layout

RECORDS = [
    dict(
        iter=iteration,
        epoch=1,
        student_score=score,
        mentors=dict(a=dict(active=0.9, score=0.75, share=0.25, invalid=0)),
    )
    for iteration, score in ((10, 0.125), (20, 0.5))
]


def hub(**scalars):
    found = MessageHub.get_instance(f'closing_{len(scalars)}')
    for name, values in scalars.items():
        found.log_scalars[name.replace('__', '/')] = HistoryBuffer(
            np.array(values), np.ones(len(values), int)
        )
    return found


def test_the_summary_fits_on_a_screen(fresh_runners):
    scalars = hub(
        train__time=[0.5] * 240, train__data_time=[0.05] * 240,
        train__mentor_time=[0.2, 0.3], val__AP=[0.25, 0.75, 0.5],
        val__time=[1.0], val__data_time=[1.0],
    )  # fmt: skip
    lines = final_summary(RECORDS, scalars, 'work').splitlines()
    assert lines == [
        'The classroom after 20 iterations (first record -> last):',
        'member   teaches       score         share of loss',
        'a        0.90 -> 0.90  0.75 -> 0.75  0.25 -> 0.25',
        'student                0.12 -> 0.50',
        'AP: 0.5 in the end, between 0.25 and 0.75 in 3 validations',
        '2 minutes of training steps: waiting for data 10%, mentors 50%, the rest the student',
        'Charts and samples: python -m mmkd_classroom.report work',
    ]


def test_that_no_mentor_is_ahead_is_said(fresh_runners):
    for score, said in ((0.75, False), (0.5, True), (0.25, True)):
        mentors = dict(a=dict(active=0.9, score=score), b=dict(active=0.9, score=0.125))
        text = final_summary([dict(RECORDS[-1], mentors=mentors)], hub(), 'work')
        assert ('no mentor has a higher score than the student' in text) == said


def test_one_validation_has_no_range(fresh_runners):
    text = final_summary(RECORDS, hub(val__AP=[0.25], train__time=[0.5] * 6), 'work')
    assert 'AP: 0.25 in the end\n0.05 minutes of training' in text


def test_long_trainings_have_minutes_too(fresh_runners):
    text = final_summary(RECORDS, hub(train__time=[600.0] * 15), 'work')
    assert '\n150 minutes of training steps' in text


def test_one_record_and_no_scalars(fresh_runners):
    text = final_summary(RECORDS[:1], hub(), 'work')
    assert 'after 10 iterations' in text and 'validations' not in text and 'minutes' not in text


def test_the_log_ends_with_it(tmp_path, fresh_runners):
    runner = Runner.from_cfg(config('classes', tmp_path, epochs=1))
    runner.train()
    (log,) = tmp_path.glob('work/*/*.log')
    assert 'The classroom after 2 iterations' in log.read_text()


def test_regular_expressions_name_the_curves_alone():
    names = ('a', 'b.c+', 'a/score')
    record = dict(RECORDS[0], mentors={name: RECORDS[0]['mentors']['a'] for name in names})
    charts = layout(record)['mentors']
    assert set(charts) == {'active', 'score', 'share', 'invalid'}
    kind, patterns = charts['score']
    curves = [*(f'mentor/{name}/score' for name in names), 'student_score']
    assert kind == 'Multiline'
    assert [[c for c in curves if re.search(p, c)] for p in patterns] == [[c] for c in curves]


def test_tensorboard_gets_one_chart_a_statistic(tmp_path, fresh_runners):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    cfg: Config = config('classes', tmp_path, epochs=1)
    cfg.visualizer = dict(type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend')])
    Runner.from_cfg(cfg).train()
    (events,) = tmp_path.glob('work/*/vis_data/events.out*')
    reader = accumulator.EventAccumulator(str(events))
    reader.Reload()
    tensor = reader.Tensors('custom_scalars__config__')[0].tensor_proto
    (category,) = Layout.FromString(tensor.string_val[0]).category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    curves = reader.Tags()['scalars']
    for key in ('weight', 'score', 'share'):
        shown = [curve for curve in curves if any(re.search(tag, curve) for tag in charts[key])]
        expected = {f'mentor/mentor_{index}/{key}' for index in range(2)}
        assert set(shown) == expected | ({'student_score'} if key == 'score' else set())
