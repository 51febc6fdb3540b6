"""Plans: what each method's training is, and mistakes that are found before anything runs."""

import json
import os
from pathlib import Path

import pytest
import torch
from fixtures import write_class_config, write_classroom_config, write_pose_config

from mmkd_classroom.benchmark.plan import read_plan
from mmkd_classroom.benchmark.runs import mentor_runs, publish, slug, student_run
from mmkd_classroom.errors import ClassroomError

METHODS = [
    dict(name='alone', alone=True),
    dict(name='classroom'),
    dict(name='no filter', strategy=dict(filter=False)),
    dict(name='one', mentors=['mentor_1'], options={'train_dataloader.batch_size': 3}),
]


@pytest.fixture
def write(tmp_path):
    """Write a plan: ``write('pose' or 'class', KEY=VALUE, ...)``; None leaves a key out."""

    def write(kind='class', **keys):
        writer = write_pose_config if kind == 'pose' else write_class_config
        base = writer(tmp_path / 'student.py', tmp_path / 'data')
        classroom = write_classroom_config(tmp_path / 'classroom.py', base)
        strategy = "model['strategy'] = dict(type='ClassroomKD', tau_max=3.0)"
        classroom.write_text(f'{classroom.read_text()}\n{strategy}\n')
        defaults = dict(classroom=str(classroom), seeds=[0, 7], metrics=[dict(key='PCK')])
        values = {**defaults, 'methods': METHODS, **keys}
        lines = [f'{key} = {value!r}\n' for key, value in values.items() if value is not None]
        (tmp_path / 'plan.py').write_text(''.join(lines))
        return tmp_path / 'plan.py'

    return write


def types(cfg):
    return [hook['type'].split('.')[-1] for hook in cfg.custom_hooks]


def test_methods_differ_in_what_they_say_alone(write):
    plan = read_plan(write())
    alone, classroom, unfiltered, one = (plan.config(method, 7) for method in plan.methods)
    assert alone.model == classroom.model.student
    assert types(alone) == ['EpochSeedHook', 'CostHook']
    assert types(classroom) == ['MentoringHook', 'CostHook']
    assert {cfg.randomness.seed for cfg in (alone, classroom, unfiltered, one)} == {7}
    assert unfiltered.model.strategy == dict(classroom.model.strategy, filter=False)
    assert unfiltered.model.strategy.tau_max == 3.0
    assert [mentor.name for mentor in one.model.mentors] == ['mentor_1']
    assert one.train_dataloader.batch_size == 3 and classroom.train_dataloader.batch_size == 4


def test_strategy_with_a_type_replaces_the_classrooms(write):
    strategy = dict(type='mmkd_classroom.ClassroomKD', temperature_mode='fixed')
    plan = read_plan(write(methods=[METHODS[0], dict(name='other', strategy=strategy)]))
    assert plan.config(plan.methods[1], 0).model.strategy == strategy


def test_student_alone_skips_the_accuracy_that_a_classroom_skips(write):
    plan = read_plan(write('pose'))
    assert plan.config(plan.methods[0], 0).model.train_cfg.compute_acc is False


def test_defaults_and_overrides(write):
    plan = read_plan(write(), {'seeds': [5], 'options.optim_wrapper.optimizer.lr': 0.5})
    assert plan.name == 'plan' and plan.reference == 'alone' and plan.seeds == [5]
    assert plan.folder.parts[-3:] == ('work_dirs', 'benchmarks', 'plan')
    assert plan.config(plan.methods[1], 5).optim_wrapper.optimizer.lr == 0.5


def test_options_of_plan_and_method_are_joined(write):
    methods = [METHODS[0], dict(name='x', options={'optim_wrapper': dict(accumulative_counts=2)})]
    path = write(methods=methods, options={'optim_wrapper.optimizer.lr': 0.5})
    plan = read_plan(path)
    wrapper = plan.config(plan.methods[1], 0).optim_wrapper
    assert wrapper.optimizer.lr == 0.5 and wrapper.accumulative_counts == 2
    assert wrapper.optimizer.type == 'Adam'


class TestDigest:
    def of(self, path, method=1, seed=0, overrides=None):
        plan = read_plan(path, overrides)
        return student_run(plan, plan.methods[method], seed).run_id

    def test_is_that_of_what_is_run(self, write):
        path = write()
        whole = self.of(path)
        assert self.of(path) == whole
        assert self.of(path, overrides={'methods.1.name': 'renamed'}) == whole
        others = {
            self.of(path, seed=7),
            self.of(path, method=2),
            self.of(path, method=3),
            self.of(path, overrides={'options.optim_wrapper.optimizer.lr': 0.5}),
        }
        assert len(others) == 4 and whole not in others

    def test_depends_on_the_mentors_weights_alone(self, write, tmp_path):
        path = write()
        whole = self.of(path)
        mentor = tmp_path / 'classroom_mentor_0.pth'
        other = tmp_path / 'classroom_mentor_1.pth'
        kept = mentor.read_bytes()
        mentor.write_bytes(other.read_bytes())
        assert self.of(path) != whole
        mentor.write_bytes(kept)
        assert self.of(path) == whole

    def test_depends_on_how_the_mentors_are_used(self, write, tmp_path):
        path = write()
        key = 'options.model.mentors.0'
        values = dict(
            precision='fp16', channels_last=True, flip_channels=True, input_size=[16, 16],
            class_map=[0, 1, 2], checkpoint=str(tmp_path / 'classroom_mentor_1.pth'),
        )  # fmt: skip
        found = {self.of(path, overrides={f'{key}.{name}': v}) for name, v in values.items()}
        assert len({self.of(path), *found}) == 7

    def test_depends_on_the_files_that_its_config_names(self, write, tmp_path):
        path, names = write(), tmp_path / 'map.json'
        for key in ('options.model.mentors.0.class_map', 'options.load_from'):
            named = {key: str(names)}
            found = set()
            for order in ([0, 1, 2], [2, 1, 0]):
                if key.endswith('map'):
                    names.write_text(json.dumps(order))
                else:
                    torch.save(dict(weight=torch.tensor(order)), names)
                os.utime(names, ns=(order[0], order[0]))
                found.add(self.of(path, overrides=named))
            assert len(found) == 2

    def test_does_not_depend_on_where_the_mentors_lie(self, write, tmp_path):
        path = write()
        whole = self.of(path)
        moved = tmp_path / 'moved.pth'
        (tmp_path / 'classroom_mentor_0.pth').rename(moved)
        option = {'options.model.mentors.0.checkpoint': str(moved)}
        classroom = tmp_path / 'classroom.py'
        classroom.write_text(classroom.read_text().replace('classroom_mentor_0.pth', 'moved.pth'))
        assert self.of(path) == whole == self.of(path, overrides=option)

    def test_waits_for_mentors(self, write, tmp_path):
        path = write()
        (tmp_path / 'classroom_mentor_0.pth').unlink()
        plan = read_plan(path)
        assert student_run(plan, plan.methods[0], 0) is not None  # alone
        assert student_run(plan, plan.methods[1], 0) is None
        assert student_run(plan, plan.methods[3], 0) is not None  # taught by the other
        lost, there = mentor_runs(plan)
        assert lost.run_id is None and lost.is_training
        assert there.weights == there.publish_to == tmp_path / 'classroom_mentor_1.pth'


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(classroom=None), r'plan\.py: plan\.classroom is missing'),
        (dict(seed=[1]), r"plan\.py: plan has no option 'seed'.*'seeds'"),
        (dict(classroom='no/such.py'), "classroom of .* = 'no/such.py': there is no such config"),
        (dict(seeds=[]), r'seeds of .* is \[\]'),
        (dict(seeds=[1.5]), r'seeds of .* is \[1.5\]'),
        (dict(seeds=[3, 3]), 'a seed is there twice'),
        (dict(mentor_seed=7), 'mentor_seed of .* is 7'),
        (dict(metrics=None), 'metrics of .* is None'),
        (dict(metrics=[dict(name='x')]), r'metrics\[0\]\.key is missing'),
        (dict(methods=[]), r'methods of .* is \[\]'),
        (dict(methods=[dict(name='x', alone='yes')]), r"alone is 'yes', a str: give True or False"),
        (dict(methods=['alone']), r"methods\[0\] is 'alone': it must be a dict"),
        (dict(methods=[dict(alone=True)]), r'methods\[0\]\.name is missing'),
        (dict(methods=[*METHODS, dict(name='one')]), r"methods\[4\]\.name of .* is 'one'"),
        (dict(methods=METHODS[1:]), '0 methods with alone=True'),
        (dict(baseline='taught'), "baseline of .* is 'taught'"),
        (
            dict(options={'model.ranker': dict(type='PCK')}),
            r"methods\[1\] of .* does not give a classroom: .*model\.ranker.*'PCK'",
        ),
        (
            dict(methods=[METHODS[0], dict(name='x', mentors=['mentor_9'])]),
            r"methods\[1\]\.mentors of .* choose from \['mentor_0', 'mentor_1'\]",
        ),
        (
            dict(methods=[dict(name='x', alone=True, strategy=dict(filter=True))]),
            r'methods\[0\] of .* leave one out',
        ),
        (
            dict(methods=[METHODS[0], dict(name='x', strategy=dict(flter=True))]),
            r'methods\[1\] of .* does not give a classroom: .*flter',
        ),
        (
            dict(methods=[METHODS[0], dict(name='x', strategy=dict(granularity='keypoint'))]),
            r'methods\[1\] of .* does not give a classroom: .*granularity',
        ),
    ],
)
def test_mistakes_name_the_key(write, keys, message):
    with pytest.raises(ClassroomError, match=message):
        read_plan(write(**keys))


HINTS = [dict(student='layer1', mentor='mentor_0', stage='layer1')]


@pytest.mark.parametrize(
    ('method', 'message'),
    [
        (
            dict(mentors=['mentor_1'], strategy=dict(type='mmkd_classroom.AMTML', hints=HINTS)),
            r"methods\[1\] of .*hints\[0\]\.mentor is 'mentor_0'",
        ),
        (
            dict(strategy=dict(type='mmkd_classroom.CAMKD', mentor_stages=['layer1'])),
            r'methods\[1\] of .* names 1 stages for 2 mentors',
        ),
    ],
)
def test_hints_from_mentors_that_do_not_teach(write, method, message):
    with pytest.raises(ClassroomError, match=message):
        read_plan(write(methods=[METHODS[0], dict(name='x', **method)]))


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (dict(config='my/mentor_0.py'), r"mentors\[1\] of .* the name 'mentor_0' as another"),
        (dict(config=dict(model=dict())), r'mentors\[1\] of .* has no name'),
    ],
)
def test_mentors_are_told_by_their_names(write, tmp_path, entry, message):
    path = write()
    with (tmp_path / 'classroom.py').open('a') as classroom:
        classroom.write(f"model['mentors'][1] = {dict(entry, checkpoint=None)!r}\n")
    with pytest.raises(ClassroomError, match=message):
        read_plan(path)


def test_an_unnamed_mentor_has_the_name_that_it_has_in_training(write, tmp_path):
    hints = [dict(student='layer1', mentor='small', stage='layer1')]
    strategy = dict(type='mmkd_classroom.AMTML', hints=hints)
    path = write(methods=[METHODS[0], dict(name='x', strategy=strategy, mentors=['small'])])
    (tmp_path / 'td-hm_small_8xb32-210e_toy.py').write_text("_base_ = ['student.py']\n")
    with (tmp_path / 'classroom.py').open('a') as classroom:
        entry = dict(config='td-hm_small_8xb32-210e_toy.py', checkpoint=None)
        classroom.write(f"model['mentors'][1] = {entry!r}\n")
    plan = read_plan(path)
    (mentor,) = plan.config(plan.methods[1], 0).model.mentors
    assert mentor.config.endswith('td-hm_small_8xb32-210e_toy.py')


def test_student_config_is_no_classroom(write, tmp_path):
    with pytest.raises(ClassroomError, match=r'student.py.* has no model.mentors'):
        read_plan(write(classroom=str(tmp_path / 'student.py')))


def test_plan_with_an_error_of_its_own(tmp_path):
    (tmp_path / 'plan.py').write_text('seeds = [0, 1')
    with pytest.raises(ClassroomError, match='plan.py could not be loaded'):
        read_plan(tmp_path / 'plan.py')


def test_classroom_with_an_error_of_its_own(write, tmp_path):
    (tmp_path / 'broken.py').write_text('model = 1 / 0')
    with pytest.raises(ClassroomError, match=r"broken.py' could not be .* in line 1 of .*broken"):
        read_plan(write(classroom=str(tmp_path / 'broken.py')))


def test_mentors_beside_the_classroom_s_config_are_found(write, tmp_path, monkeypatch):
    path = write()
    classroom = tmp_path / 'classroom.py'
    classroom.write_text(classroom.read_text().replace(f'{tmp_path.resolve()}/', ''))
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    plan = read_plan(path)
    for entry in plan.mentors(plan.methods[1]):
        assert Path(entry['config']).is_file() and Path(entry['checkpoint']).is_file()
    assert [run.is_training for run in mentor_runs(plan)] == [False, False]


def test_slug():
    assert slug('ClassroomKD (batch), 3x') == 'classroomkd-batch-3x'


def test_a_mentor_that_has_appeared_meanwhile_stays(tmp_path):
    source, target = tmp_path / 'ours.pth', tmp_path / 'work_dirs' / 'mentor.pth'
    source.write_bytes(b'ours')
    publish(source, target)
    assert target.read_bytes() == b'ours'
    target.write_bytes(b'theirs')
    publish(source, target)
    assert target.read_bytes() == b'theirs'
    assert [path.name for path in target.parent.iterdir()] == ['mentor.pth']


def test_a_cache_is_for_all_methods_that_read_no_features(write):
    methods = [
        METHODS[0],
        METHODS[1],
        dict(name='features', strategy=dict(type='mmkd_classroom.CAMKD', mentor_stages='layer2')),
        dict(name='one view', options={'model.cache.views': 1}),
        dict(name='online', options={'model.cache': None}),
    ]
    plan = read_plan(write(methods=methods, cache=dict(views=8), work_dir='somewhere'))
    alone, cached, features, one, online = (plan.config(method, 0) for method in plan.methods)
    assert 'cache' not in alone.model and 'cache' not in features.model
    assert cached.model.cache == dict(views=8, dir=str(plan.folder / 'cache'))
    assert one.model.cache == dict(cached.model.cache, views=1)
    assert online.model.cache is None


def test_where_a_cache_lies_is_no_part_of_a_run(write):
    ids = set()
    for cache in (dict(views=2, dir='a'), dict(views=2, dir='b'), dict(views=3, dir='b'), None):
        plan = read_plan(write(cache=cache))
        ids.add(student_run(plan, plan.methods[1], 0).run_id)
    assert len(ids) == 3


def test_a_cache_with_a_wrong_option_is_told(write):
    with pytest.raises(ClassroomError, match=r"methods\[1\].*no option 'veiws'"):
        read_plan(write(cache=dict(veiws=2)))
