"""The plans in configs/benchmarks: each is one, and says how it is run."""

import re
from pathlib import Path

import pytest

from mmkd_classroom.benchmark.plan import read_plan
from mmkd_classroom.benchmark.runs import make_run_id
from mmkd_classroom.mentors.entry import mentor_name

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / 'configs' / 'benchmarks').glob('*.py'))
COMPARED = [
    'alone', 'KD, best mentor', 'KD, worst mentor', 'AVER', 'EBKD', 'CA-MKD', 'AMTML-KD',
]  # fmt: skip
SETTINGS = ['', '_weak', '_few', '_few_weak']
CPU = [f'{data}_cpu{setting}' for data in ('lspet', 'cifar10') for setting in SETTINGS]


@pytest.mark.parametrize('path', PLANS, ids=lambda path: path.stem)
def test_plan_can_be_run(path):
    plan = read_plan(path)
    assert len(plan.seeds) >= 2 + (not path.stem.endswith('_search'))
    for method in plan.methods:
        cfg = plan.config(method, plan.seeds[0])
        assert (cfg.model.type == 'mmkd_classroom.MultiMentorDistiller') != method.alone
        if method.name.startswith('KD'):
            assert len(cfg.model.mentors) == 1
        for hint in (cfg.model.get('strategy') or {}).get('hints', []):
            assert hint['mentor'] in map(mentor_name, cfg.model.mentors)
    loaders = {repr(plan.config(m, 0).train_dataloader) for m in plan.methods}
    assert len(loaders) == 1  # the same data for all, also for the student alone


@pytest.mark.parametrize('path', PLANS, ids=lambda path: path.stem)
def test_header_has_the_command(path):
    header = path.read_text().split('\n_base_')[0].split('\nclassroom =')[0]
    assert all(line.startswith('#') for line in header.splitlines())
    command = f'# Run: python tools/benchmark.py configs/benchmarks/{path.name}'
    assert command in header and '# Needs: ' in header
    assert f'({path.name})' in (path.parent / 'README.md').read_text()


@pytest.mark.parametrize('name', ['lspet', 'cifar10', *CPU])
def test_the_comparison_has_all_methods(name):
    plan = read_plan(ROOT / 'configs' / 'benchmarks' / f'{name}.py')
    ways = ['batch', 'sample'] + ['keypoint'] * name.startswith('lspet')
    names = [*COMPARED, *(f'ClassroomKD, {way}' for way in ways), 'running advantage']
    assert [method.name for method in plan.methods] == names
    assert len(plan.seeds) == 5
    assert (plan.cache is not None) == ('cpu' in name)


@pytest.mark.parametrize(
    'name, other',
    [
        (f'{data}_cpu{few}', other)
        for data in ('lspet', 'cifar10')
        for few, others in (('', ['weak', 'search', 'plateau']), ('_few', ['weak', 'plateau']))
        for other in others
    ],
)
def test_runs_in_common_are_made_once(name, other):
    plans = [
        read_plan(ROOT / 'configs' / 'benchmarks' / f'{file}.py')
        for file in (name, f'{name}_{other}')
    ]
    ids = [
        {m.name: make_run_id(plan.config(m, 0), plan.mentors(m)) for m in plan.methods}
        for plan in plans
    ]
    assert plans[0].folder == plans[1].folder
    assert set(ids[0].items()) & set(ids[1].items())


@pytest.mark.parametrize('choice', ['search', 'views'])
@pytest.mark.parametrize('name', ['lspet_cpu', 'cifar10_cpu'])
def test_options_are_not_chosen_on_the_seeds_of_the_comparison(name, choice):
    compared, chosen = (
        read_plan(ROOT / 'configs' / 'benchmarks' / f'{file}.py')
        for file in (name, f'{name}_{choice}')
    )
    assert not set(compared.seeds) & set(chosen.seeds)


@pytest.mark.parametrize('name', ['lspet', 'lspet_cpu', 'cifar10', 'cifar10_cpu'])
def test_an_ablation_changes_one_switch_at_a_time(name):
    plan = read_plan(ROOT / 'configs' / 'benchmarks' / f'{name}_ablation.py')
    assert plan.folder.name == name
    whole, *others, control = [method for method in plan.methods if not method.alone]
    assert plan.reference == whole.name
    base = flat(plan.config(whole, 0).to_dict())
    assert base['.model.strategy.tau_max'] != '0.0'  # otherwise there is no temperature to change
    for method in others:
        changed = flat(plan.config(method, 0).to_dict()).items() ^ base.items()
        switches = {re.sub(r'.*\.', '', key) for key, _ in changed}
        if switches & {'temperature_mode', 'type'}:  # what has no use with it, or no other
            switches -= {'temperature', 'tau_max'}
        assert len(switches) == 1, method.name
    off = dict(filter=False, temperature_mode='fixed', mentor_weights='one')
    assert off.items() <= dict(control.strategy).items()


def flat(value, key=''):
    """Leaves of nested dicts and lists, by dotted key."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        return {key: repr(value)}
    return {k: v for name, item in items for k, v in flat(item, f'{key}.{name}').items()}
