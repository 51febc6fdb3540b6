"""Untrusted files: nothing in them runs, nothing is written or removed outside, nothing hangs.

A canary is a file that a payload would write. What may be trusted, and why, is in docs/security.md.
"""

import gzip
import io
import json
import os
import pickle
import socket
import sys
import tarfile
import zipfile
from pathlib import Path

import mmengine.runner.checkpoint
import pytest
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import load_checkpoint
from runs import config
from torch import nn

from mmkd_classroom import checkpoints, downloads
from mmkd_classroom.benchmark.plan import read_plan
from mmkd_classroom.benchmark.runs import slug
from mmkd_classroom.benchmark.store import ResultStore
from mmkd_classroom.cache.cache import read_manifest
from mmkd_classroom.cache.store import Store
from mmkd_classroom.cache_mentors import list_caches, prune
from mmkd_classroom.checkpoints import read_checkpoint, register_safe_loader
from mmkd_classroom.downloads import download
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads.class_map import class_indices
from mmkd_classroom.hooks.records import RecordFile
from mmkd_classroom.hub import get_config
from mmkd_classroom.mentors.entry import read_entry
from mmkd_classroom.report.run import read_run


class Payload:
    """Writes the canary when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


@pytest.fixture
def canary(tmp_path):
    """It must not be there when the test is over."""
    path = tmp_path / 'canary'
    yield path
    assert not path.exists()


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / 'canary')))
    assert (tmp_path / 'canary').exists()


# --- the student's checkpoints, through tools/train.py -------------------------------------------


@pytest.fixture
def train(run_tool, tmp_path):
    """Run tools/train.py on a small classroom; returns its message."""

    def run(change, *args):
        cfg = config('classes', tmp_path, epochs=1)
        change(cfg)
        cfg.dump(tmp_path / 'changed.py')
        with pytest.raises(SystemExit) as caught:
            run_tool('train', tmp_path / 'changed.py', *args)
        assert not list(tmp_path.rglob('epoch_*.pth'))
        return str(caught.value)

    return run


@pytest.mark.parametrize('way', ['load_from', 'init_cfg', '--resume FILE', '--resume'])
def test_a_pickle_as_the_student_s_checkpoint(way, train, canary, tmp_path):
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={'w': torch.ones(1)}, meta=Payload(canary)), evil)
    args = {'--resume': ['--resume'], '--resume FILE': ['--resume', evil]}.get(way, [])

    def change(cfg):
        if way == 'load_from':
            cfg.load_from = str(evil)
        elif way == 'init_cfg':
            backbone = cfg.model.student.backbone
            backbone.init_cfg = dict(type='Pretrained', checkpoint=str(evil))
        elif way == '--resume':
            Path(cfg.work_dir).mkdir()
            (Path(cfg.work_dir) / 'last_checkpoint').write_text(str(evil))

    assert 'evil.pth' in (said := train(change, *args)) and 'Nothing was run' in said


@pytest.mark.parametrize('meta', ['config', dict(epoch='x'), ['epoch'], None])
def test_the_text_of_a_config_in_a_checkpoint_is_not_run(meta, train, canary, tmp_path):
    if meta == 'config':
        meta = dict(epoch=0, iter=0, config=f'open({str(canary)!r}, "w")')
    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, meta=meta, message_hub=3), path)
    stateless = dict(type='mmkd_classroom.AVER')
    said = train(lambda cfg: cfg.model.update(strategy=stateless), '--resume', path)
    assert 'The training cannot be resumed from the checkpoint' in said and 'evil.pth' in said


def test_names_of_other_zoos_are_read_safely_too(monkeypatch, canary, tmp_path, fresh_runners):
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, meta=Payload(canary)), evil)
    here = {'evil': 'https://example.invalid/evil.pth'}
    monkeypatch.setattr(mmengine.runner.checkpoint, 'get_torchvision_models', lambda: here)
    monkeypatch.setattr(mmengine.runner.checkpoint, 'load_from_http', None)  # put back afterwards
    monkeypatch.setattr(checkpoints, 'download', lambda url, key: evil)
    register_safe_loader()
    with pytest.raises(ClassroomError, match='Nothing was run'):
        load_checkpoint(nn.Linear(2, 2), 'torchvision://evil')


# --- bombs in checkpoints -------------------------------------------------------------------------


def test_a_zip_that_is_unpacked_to_far_more_than_its_size(tmp_path):
    with zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('bomb/data/0', bytes(2**26))
    assert (tmp_path / 'bomb.pth').stat().st_size < 2**17
    with pytest.raises(ClassroomError, match='would be unpacked to 67108864 bytes'):
        read_checkpoint(tmp_path / 'bomb.pth')


def test_a_compressed_archive_is_not_unpacked_to_see_what_it_is(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('../x'), io.BytesIO())
    (tmp_path / 'x.pth').write_bytes(gzip.compress(packed.getvalue()))
    monkeypatch.setattr(gzip.GzipFile, 'read', lambda *_: pytest.fail('it was unpacked'))
    with pytest.raises(ClassroomError, match='no PyTorch checkpoint'):
        read_checkpoint(tmp_path / 'x.pth')


# --- metafiles and maps ---------------------------------------------------------------------------

YAML = '!!python/object/apply:os.mkdir [{canary!r}]'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of a config, with a metafile of this name and content."""

    def make(name, content):
        home = tmp_path / 'packages' / 'of_a_stranger' / '.mim'
        (home / 'configs' / 'some').mkdir(parents=True)
        (home.parent / '__init__.py').touch()
        (home / 'model-index.yml').write_text(f'Import: [{name}]')
        (home / name).write_bytes(content)
        (home / 'configs' / 'some' / 'x.py').write_text("model = dict(type='X')")
        monkeypatch.syspath_prepend(home.parents[1])
        monkeypatch.setitem(MODULE2PACKAGE, 'of_a_stranger', 'of_a_stranger')
        return 'of_a_stranger::some/x.py'

    yield make
    sys.modules.pop('of_a_stranger', None)


@pytest.mark.parametrize('kind', ['yml', 'pkl', 'base'])
def test_a_metafile(kind, package, canary, tmp_path):
    content = YAML.format(canary=str(canary)).encode()
    if kind == 'pkl':
        content = pickle.dumps(Payload(canary))
    name = package('meta.pkl' if kind == 'pkl' else 'meta.yml', content)
    if kind == 'base':  # read by MMEngine's own Config
        (tmp_path / 'mine.py').write_text(f"_base_ = ['{name}']\nmodel = dict(x=1)")
        name = str(tmp_path / 'mine.py')
    entry = dict(config=name, checkpoint='zoo' if '::' in name else None)
    # MMEngine takes an index that it cannot decode for one that lacks the config.
    said = 'lists no weights' if kind == 'pkl' else 'could not be loaded .ConstructorError'
    with pytest.raises(ClassroomError, match=said):
        read_entry(entry, 'model.mentors[0]')


def test_a_good_metafile_is_read(package):
    models = b'Models: [{Config: configs/some/x.py, Weights: "https://x.invalid/a.pth"}]'
    assert get_config(package('meta.yml', models), pretrained=True).model_path.endswith('a.pth')


@pytest.mark.parametrize('kind', ['json', 'yml', 'yaml', 'pkl', 'pickle', 'py', 'pth'])
def test_a_class_map(kind, canary, tmp_path):
    path = tmp_path / f'classes.{kind}'
    text = YAML.format(canary=str(canary)).encode()
    path.write_bytes(text if kind.startswith('y') else pickle.dumps(Payload(canary)))
    with pytest.raises(ClassroomError, match=rf'mentors\[0\]\.class_map = .*classes\.{kind}'):
        class_indices(str(path), 3, 3, None, 'model.mentors[0]')


def test_lines_of_yaml_that_refer_to_each_other(tmp_path):
    lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'{b}: &{b} [{", ".join([f"*{a}"] * 10)}]' for a, b in zip('abcdefgh', 'bcdefghi')]
    (tmp_path / 'laughs.yml').write_text('\n'.join([*lines, '0: *i', '1: 1', '2: 2']))
    with pytest.raises(ClassroomError, match='class_map has the key') as caught:
        class_indices(str(tmp_path / 'laughs.yml'), 3, 3, None, 'model.mentors[0]')
    (tmp_path / 'list.yml').write_text('- &a [1, 1]\n' + '- &a [*a, *a, *a, *a, *a, *a]\n' * 30)
    with pytest.raises(ClassroomError, match='class_map') as caught:
        class_indices(str(tmp_path / 'list.yml'), 31, 31, None, 'model.mentors[0]')
    assert len(str(caught.value)) < 1000


# --- JSON -----------------------------------------------------------------------------------------

BOMBS = {
    'deep': b'[' * 200_000,
    'deep dict': b'{"a":' * 200_000,
    'huge number': b'{"run_id": "a", "iter": ' + b'9' * 5000 + b'}',
    'huge float': b'{"step": 1e99999, "iter": -1e99999}',
    'key twice': b'{"run_id": "a", "run_id": "b", "iter": 1, "iter": 2}',
    'not a number': b'{"run_id": NaN, "iter": NaN, "mentors": Infinity, "samples": NaN}',
    'pickle': pickle.dumps(Payload('canary')),
    'binary': bytes(range(256)),
    'surrogate': b'{"run_id": "\\ud800", "iter": "\\ud800"}',
}
READERS = {
    'results.jsonl': lambda folder: ResultStore(folder),
    'mentoring.jsonl': lambda folder: RecordFile(folder).read(),
    'start/vis_data/scalars.json': lambda folder: read_run([folder]),
    'cache/manifest.json': lambda folder: list_caches(folder),
}


@pytest.mark.parametrize('name', READERS)
@pytest.mark.parametrize('bomb', BOMBS)
def test_json(name, bomb, canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BOMBS[bomb] + b'\n')
    try:
        READERS[name](tmp_path)
    except ClassroomError as error:
        assert len(str(error)) < 2000
    else:
        assert name.endswith('.jsonl')  # as a line that a crash has cut short


@pytest.mark.parametrize('name', READERS)
def test_a_file_of_a_hundred_gigabytes_is_not_read(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, 100 * 2**30)  # takes no space on the disk
    with pytest.raises(ClassroomError, match='has more than 16777216 bytes'):
        READERS[name](tmp_path)


# --- names that become paths ----------------------------------------------------------------------


@pytest.mark.parametrize('name', ['../x', '/x', 'a/b', 'a\\b', 'a\nb', 'a\0b', 'x' * 101])
def test_a_mentor_s_name(name):
    entry = dict(config=dict(model=dict(type='X')), checkpoint=None, name=name)
    with pytest.raises(ClassroomError, match=r'mentors\[0\] has the name .*name=\.\.\.'):
        read_entry(entry, 'model.mentors[0]')


def test_a_plan_s_name(tmp_path):
    text = "classroom, seeds, metrics = 'x.py', [0], [dict(key='a')]\nmethods = [dict(name='x')]\n"
    for name in ('../x', '/x', 'a/b', '..', ''):
        (tmp_path / 'plan.py').write_text(f'{text}name = {name!r}')
        with pytest.raises(ClassroomError, match='without slashes'):
            read_plan(tmp_path / 'plan.py')


@pytest.mark.parametrize('name', ['../../x', '/x', '..', 'x' * 999, '', '\0'])
def test_a_method_s_name(name):
    assert 0 < len(slug(name)) <= 100 and not set(slug(name)) & set('/.\0')


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


@pytest.mark.parametrize(
    'path', ['', '/', '/..', '/a/..', '/a/../..', '/.', '?x=/y.pth', '#/y.pth']
)
def test_a_url_without_a_file_name(path, hub):
    with pytest.raises(ClassroomError, match='ends with no name of a file'):
        download(f'http://127.0.0.1:9{path}')


@pytest.mark.parametrize(
    'path', ['/%2e%2e%2fx.pth', '/..%2f..%2fx.pth', '/a/../../x.pth', '//x.pth']
)
def test_a_url_whose_name_leads_elsewhere(path, hub, monkeypatch):
    written = []
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda url, to, *_, **__: written.append(to)
    )
    with pytest.raises(ClassroomError, match='could not be downloaded'):
        download(f'http://127.0.0.1:9{path}')
    assert [Path(os.path.abspath(to)).parent.parent for to in written] == [hub]


def test_a_server_that_says_nothing(hub, monkeypatch):
    monkeypatch.setattr(downloads, '_PATIENCE', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as server:
        with pytest.raises(ClassroomError, match='could not be downloaded.*timed out'):
            download(f'http://127.0.0.1:{server.getsockname()[1]}/x.pth')
    assert socket.getdefaulttimeout() is None and not list(hub.rglob('*.pth'))


# --- the cache ------------------------------------------------------------------------------------

MANIFEST = dict(samples=4, shape=dict(shapes=[[1, 3]], joints=None))


@pytest.fixture
def cache(tmp_path):
    """A folder with one cache, and one of somebody else's outside."""
    for folder in (tmp_path / 'cache' / 'mentor', tmp_path / 'outside'):
        folder.mkdir(parents=True)
        (folder / 'manifest.json').write_text(json.dumps(MANIFEST))
        Store(folder / 'view_0', 4, 13)._open(create=True)
    return tmp_path / 'cache'


def test_a_link_is_not_pruned(cache):
    (cache / 'link').symlink_to(cache.parent / 'outside')
    with pytest.raises(ClassroomError, match='--prune link: it is a link to .*outside'):
        prune(cache, ['mentor', 'link'])
    assert len(list((cache.parent / 'outside').iterdir())) == 2 and (cache / 'mentor').exists()
    for name in ('..', '../outside', str(cache.parent / 'outside'), '.', ''):
        with pytest.raises(ClassroomError, match='--prune .*: .* has link, mentor'):
            prune(cache, [name])


def test_links_inside_of_a_cache_are_removed_and_not_followed(cache):
    (cache / 'mentor' / 'link').symlink_to(cache.parent / 'outside')
    prune(cache, ['mentor'])
    assert len(list((cache.parent / 'outside').iterdir())) == 2


@pytest.mark.parametrize('there', [True, False])
def test_records_are_not_written_through_a_link(cache, there):
    target = cache.parent / 'outside' / ('view_0' if there else 'no_such')
    before = target.read_bytes() if there else None
    path = cache / 'mentor' / 'view_1'
    path.symlink_to(target)
    with pytest.raises(ClassroomError, match='view_1 is a link'):
        Store(path, 4, 13).write(0, 1, torch.zeros(13, dtype=torch.uint8).numpy())
    assert (target.read_bytes() if target.exists() else None) == before


def shape(*shapes, joints=None, **others):
    return dict(shape=dict(shapes=list(shapes), joints=joints, **others))


@pytest.mark.parametrize(
    'change',
    [
        *(dict(samples=samples) for samples in (0, '4', True, 2**50, None)),
        *(shape(sizes) for sizes in ([3], [1, -3], '../x', [2**17] * 3, [1, 2.0], 5)),
        *(dict(shape=value) for value in (3, [], dict(shapes='ab'))),
        shape([1, 3], factor=2),
        shape([1, 3], joints='x'),
    ],
)
def test_a_manifest(change, cache):
    path = cache / 'mentor' / 'manifest.json'
    path.write_text(json.dumps({**MANIFEST, **change}))
    with pytest.raises(ClassroomError, match=r'manifest\.json is damaged .*remove'):
        read_manifest(path)


def test_pickles_as_records(cache, canary):
    path = cache / 'mentor' / 'view_0'
    path.write_bytes(pickle.dumps(Payload(canary)).ljust(4 * 300, b'.'))
    assert 'mentor' in list_caches(cache)
    assert Store.found(path, 4).read(0, 1) is None


# --- the report -----------------------------------------------------------------------------------

NAMES = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "</script><b>'&amp;$\\frac$",
]


def test_names_in_the_report_are_text(tmp_path):
    pytest.importorskip('plotly', reason='the report needs plotly')
    from mmkd_classroom.report.page import write_report

    logs = tmp_path / '<i>work' / '20200101' / 'vis_data'
    logs.mkdir(parents=True)
    model = "dict(type='mmkd_classroom.MultiMentorDistiller', mentors=[1], student=dict())"
    (logs / 'config.py').write_text(f'model = {model}')
    values = dict(active=0.5, weight=0.5, score=0.5, temperature=1.0, share=0.1)
    record = dict(iter=1, epoch=1, student_score=0.4, mentors=dict.fromkeys(NAMES, values))
    (logs.parents[1] / 'mentoring.jsonl').write_text(json.dumps(record) + '\n')
    lines = [{'step': 1, 'loss': 1.0, 'loss<u>x': 1.0, 'time': 1.0}, {'step': 1, NAMES[0]: 0.5}]
    (logs / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    page = write_report([logs.parents[1]], tmp_path / 'report.html', samples=0).read_text()
    start = page.index('<main>')
    assert 'alert(1)' in page[start:]
    for tag in (
        '<script>alert',
        '<img',
        '</script><b>',
        '<i>',
        '<u>',
        'u003cscript',
        'u003cimg',
        'u003cu',
    ):
        assert tag not in page[start:], tag
