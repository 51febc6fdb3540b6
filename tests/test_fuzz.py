"""Whatever a file or a config has: a ClassroomError or success, never another error, never a hang.

60 examples of each kind here; 10,000 in the campaign.
"""

import json
import pickle
import string

import pytest
import torch
from fixtures import write_class_config, write_class_dataset, write_classroom_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from torch import nn

from mmkd_classroom.benchmark.plan import Plan, read_plan
from mmkd_classroom.benchmark.runs import slug, weights_digest
from mmkd_classroom.benchmark.store import ResultStore
from mmkd_classroom.cache.cache import read_manifest
from mmkd_classroom.cache.record_format import RecordFormat
from mmkd_classroom.cache_mentors import list_caches
from mmkd_classroom.checkpoints import load_from_weights_only, load_weights
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads.class_map import class_indices
from mmkd_classroom.heads.joints import match_joints
from mmkd_classroom.hooks.final_summary import _table
from mmkd_classroom.hooks.records import RecordFile, scalars, summary
from mmkd_classroom.mentors.entry import read_entry
from mmkd_classroom.metainfo import Names
from mmkd_classroom.report.run import _read_lines

COUNTS = [60, pytest.param(10_000, marks=pytest.mark.campaign)]
COCO = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
JOINTS = Names(COCO['keypoint_id2name'].values())

scalar = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**30, -1, 'zoo', '..', '../x', '/etc/passwd', 'http://', 'a::b', '\0'])
)
key = st.text(max_size=8) | st.sampled_from(['type', 'name', '_base_', '_delete_', 'a.b'])
plain = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3),
    max_leaves=4,
)


def mostly(right, **values):
    """A dict that is right, but for some keys that are missing, or have other values."""
    good = {name: st.just(value) for name, value in right.items()}
    odd = {name: good.get(name, plain) | values.get(name, plain) | plain for name in good | values}
    more = {name: odd[name] for name in odd.keys() - good.keys()}
    one = st.sampled_from(sorted(good)).flatmap(
        lambda name: st.fixed_dictionaries({**good, name: odd[name]}, optional=more)
    )
    return one | st.fixed_dictionaries({}, optional=odd)


def hunt(count, strategy, check):
    """Only a ClassroomError may come out of the check, and it must say something."""

    @settings(max_examples=count, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def attempt(value):
        try:
            check(value)
        except ClassroomError as error:
            assert 10 < len(str(error)) < 5000

    attempt()


pytestmark = pytest.mark.timeout(0)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# --- configs ------------------------------------------------------------------------------------

ENTRY = mostly(
    dict(config=dict(model=dict(type='ImageClassifier')), checkpoint=None),
    name=st.text(max_size=120),
    input_size=st.tuples(st.integers(), st.integers()),
    precision=st.sampled_from(['fp16', 'fp17']),
    channels_last=st.booleans(),
    compile=st.booleans(),
    flip_channels=st.booleans(),
    class_map=plain,
    keypoint_map=plain,
)


@pytest.mark.parametrize('count', COUNTS)
def test_mentor_entries(count):
    def check(entry):
        read = read_entry(entry, 'model.mentors[0]', ['class_map', 'keypoint_map', 'metainfo'])
        assert '/' not in read.name and len(read.name) <= 100

    hunt(count, ENTRY | plain, check)


word = st.text(string.ascii_letters + '/.-_ ', min_size=1, max_size=12)
METHOD = mostly(
    dict(name='x'), alone=st.booleans(), mentors=st.lists(word, max_size=2),
    strategy=st.dictionaries(word, scalar, max_size=2),
    options=st.dictionaries(word, scalar, max_size=2),
)  # fmt: skip
PLAN = mostly(
    dict(
        classroom='classroom.py',
        methods=[dict(name='alone', alone=True), dict(name='taught')],
        seeds=[0, 1],
        metrics=[dict(key='accuracy/top1')],
    ),
    methods=st.lists(METHOD, max_size=3), name=word, mentor_seed=st.integers(),
    baseline=word, work_dir=word, dump=st.booleans(), options=st.dictionaries(word, scalar),
    cache=st.dictionaries(st.sampled_from(['views', 'cells', 'x']), scalar, max_size=2),
)  # fmt: skip


@pytest.mark.parametrize('count', COUNTS)
def test_plans(count, tmp_path, monkeypatch):
    base = write_class_config(tmp_path / 'student.py', write_class_dataset(tmp_path / 'data'))
    write_classroom_config(tmp_path / 'classroom.py', base)
    (tmp_path / 'right.py').write_text(
        "classroom, seeds, metrics = 'classroom.py', [0], [dict(key='accuracy/top1')]\n"
        "methods = [dict(name='alone', alone=True), dict(name='taught')]"
    )
    # All plans have the same classroom, so one student is enough.
    monkeypatch.setattr(Plan, 'student', read_plan(tmp_path / 'right.py').student)

    def check(plan):
        lines = ["inf, nan = float('inf'), float('nan')"]
        lines += [f'{name} = {value!r}' for name, value in plan.items()]
        (tmp_path / 'plan.py').write_text('\n'.join([*lines, 'del inf, nan']))
        read = read_plan(tmp_path / 'plan.py')
        assert read.folder.name != '..'
        assert all(slug(method.name) == slug(slug(method.name)) for method in read.methods)

    hunt(count, PLAN, check)


@pytest.mark.parametrize('count', COUNTS)
def test_maps_of_joints(count):
    joint = st.sampled_from([*JOINTS, 0, 16, 17, -1, True]) | scalar
    maps = st.dictionaries(joint, joint | plain, max_size=5) | plain
    hunt(count, maps, lambda value: match_joints(JOINTS, JOINTS, value, 'model.mentors[0]'))


NAMES = ['cat', 'dog', 'cat', 'owl']


def indices(value):
    found = class_indices(value, 3, 4, NAMES, 'model.mentors[0]')
    assert len(set(found)) == 3 and set(found) <= set(range(4))


@pytest.mark.parametrize('count', COUNTS)
def test_maps_of_classes(count):
    theirs = st.sampled_from([0, 1, 2, 3, 4, 'dog', 'owl', 'cat', True]) | plain
    ours = st.sampled_from([0, 1, 2, '0', '1', '2', 3, 1.0]) | scalar
    maps = st.lists(theirs, min_size=2, max_size=4) | st.dictionaries(ours, theirs, max_size=4)
    hunt(count, maps | plain, indices)


@pytest.mark.parametrize('kind', ['json', 'yml'])
@pytest.mark.parametrize('count', COUNTS)
def test_files_of_classes(count, kind, tmp_path):
    path = tmp_path / f'classes.{kind}'
    text = st.text('{}[]:,&*!- \n"012abc', max_size=30).map(str.encode)
    right = st.builds(damaged, st.just(b'[0, 1, 3]'), st.integers(0, 8), st.binary(max_size=2))

    def check(content):
        path.write_bytes(content)
        indices(str(path))

    hunt(count, text | right | plain.map(dumped) | st.binary(max_size=30), check)


# --- files --------------------------------------------------------------------------------------


def dumped(value):
    return json.dumps(value).encode()


def damaged(content, position, junk):
    position %= len(content) + 1
    return content[:position] + junk + content[position + len(junk) :]


def a_file_of(right):
    """Lines of JSON: right ones, with other values, with other bytes, and no JSON at all."""
    good = dumped(right)
    line = (
        st.just(good)
        | mostly(right).map(dumped)
        | plain.map(dumped)
        | st.builds(damaged, st.just(good), st.integers(0, 10**4), st.binary(max_size=3))
        | st.binary(max_size=20)
    )
    return st.lists(line, max_size=4).map(b'\n'.join) | st.lists(line, max_size=4).map(
        lambda lines: b''.join(line + b'\n' for line in lines)
    )


@pytest.mark.parametrize('count', COUNTS)
def test_ledgers(count, tmp_path):
    right = dict(run_id='a', name='x', metrics=dict(top1=0.5), seconds=1.0)

    def check(content):
        (tmp_path / 'results.jsonl').write_bytes(content)
        store = ResultStore(tmp_path)
        store.add(dict(run_id='new'))
        assert ResultStore(tmp_path).find('new') == dict(run_id='new')

    hunt(count, a_file_of(right), check)


@pytest.mark.parametrize('count', COUNTS)
def test_records(count, tmp_path):
    right = dict(iter=3, epoch=1, mentors=dict(a=dict(active=0.5, score=0.4, invalid=0)))

    def check(content):
        file = RecordFile(tmp_path)
        file.path.write_bytes(content)
        records = file.read()
        file.start(2, tmp_path)
        assert all(record['iter'] <= 2 for record in file.read())
        for record in records:
            assert summary(record) and scalars(record) is not None
            assert records[0].keys() and _table(record, record)

    hunt(count, a_file_of(right), check)


@pytest.mark.parametrize('count', COUNTS)
def test_logs(count, tmp_path):
    def check(content):
        (tmp_path / 'scalars.json').write_bytes(content)
        for line in _read_lines(tmp_path / 'scalars.json'):
            assert all(f'{value:.3g}' for value in line.values()) and 'step' in line

    hunt(count, a_file_of(dict(step=1, loss=0.5, time=0.1)), check)


@pytest.mark.parametrize('count', COUNTS)
def test_manifests(count, tmp_path):
    shapes = st.lists(st.lists(st.integers(-1, 2**62) | scalar, max_size=4), max_size=3)
    shape = mostly(dict(shapes=[[17, 16, 16]], joints=17), shapes=shapes)
    manifest = mostly(dict(samples=8, shape=dict(shapes=[[1, 3]], joints=None)), shape=shape)
    folder = tmp_path / 'mentor-0123'
    folder.mkdir()
    (folder / 'view_0').write_bytes(bytes(8 * 100))

    def check(content):
        (folder / 'manifest.json').write_bytes(content)
        RecordFormat(**read_manifest(folder / 'manifest.json')['shape'], factor=1.0, cells=32)
        list_caches(tmp_path)

    files = a_file_of(dict(samples=8, shape=dict(shapes=[[17, 16, 16]], joints=17)))
    hunt(count, manifest.map(dumped) | files, check)


tensor = st.sampled_from(
    [
        torch.zeros(2, 3), torch.zeros(2), torch.zeros(0), torch.tensor(1.0),
        torch.zeros(2, 3).half(), torch.zeros(2, 3, dtype=torch.complex64),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(2, 3, device='meta'), torch.full((2,), torch.nan), torch.zeros(2, 3).bool(),
    ]
)  # fmt: skip
KEYS = ['state_dict', 'model', 'meta', 'config', 'weight', 'bias', 'module.weight']
CONTAINER = st.recursive(
    tensor | scalar,
    lambda inner: (
        st.dictionaries(
            st.sampled_from(
                ['state_dict', 'model', 'meta', 'config', 'weight', 'bias', 'module.weight']
            )
            | st.integers()
            | st.none(),
            inner,
            max_size=4,
        )
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


def read_every_way(path):
    for read in (load_from_weights_only, weights_digest):
        try:
            read(path)
        except ClassroomError as error:
            assert str(path) in str(error)
    load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize('count', COUNTS)
def test_contents_of_checkpoints(count, tmp_path):
    def check(content):
        torch.save(content, tmp_path / 'x.pth')
        read_every_way(tmp_path / 'x.pth')

    hunt(count, CONTAINER, check)


@pytest.mark.parametrize('count', COUNTS)
@pytest.mark.parametrize('layout', ['zip', 'legacy', 'pickle'])
def test_bytes_of_checkpoints(count, layout, tmp_path):
    path = tmp_path / 'x.pth'
    weights = nn.Linear(3, 2).state_dict()
    torch.save(weights, path, _use_new_zipfile_serialization=layout == 'zip')
    right = path.read_bytes() if layout != 'pickle' else pickle.dumps(dict(a=[1, 'b']))

    def check(content):
        path.write_bytes(content)
        read_every_way(path)

    cut = st.integers(0, len(right)).map(lambda end: right[:end])
    bad = st.builds(damaged, st.just(right), st.integers(0, 10**6), st.binary(max_size=4))
    hunt(count, cut | bad | st.binary(max_size=40), check)
