"""What the pages show is true: examples run, configs build, commands, files and messages exist."""

import ast
import doctest
import importlib
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmkd_classroom.cache import MentorCache
from mmkd_classroom.divergences import Divergence
from mmkd_classroom.hub import config_file
from mmkd_classroom.make_classroom import build_classroom
from mmkd_classroom.mentors import read_entry
from mmkd_classroom.mentors.entry import as_entry
from mmkd_classroom.options import build_part, check_options
from mmkd_classroom.rankers import Ranker
from mmkd_classroom.registry import HOOKS, MODELS, TASK_UTILS
from mmkd_classroom.strategies import Strategy

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
PARTS = {
    'strategy': (MODELS, Strategy),
    'ranker': (TASK_UTILS, Ranker),
    'divergence': (TASK_UTILS, Divergence),
}


def named(page):
    return str(page.relative_to(ROOT))


def fenced(page, *languages):
    """Code of a page in these languages, block by block."""
    fence = re.compile(rf'^```(?:{"|".join(languages)})\n(.*?)^```$', re.M | re.S)
    return fence.findall(page.read_text())


def blocks(*languages):
    """Code of all pages in these languages, as parameters."""
    return [
        pytest.param(block, id=f'{named(page)}-{number}')
        for page in PAGES
        for number, block in enumerate(fenced(page, *languages))
    ]


def of_kind(holds, *languages):
    return [parameter for parameter in blocks(*languages) if holds(parameter.values[0])]


def is_config(code):
    return code.startswith('_base_ =')


def is_part(code):
    return bool(re.search(r'^(model = dict\(|custom_hooks = )', code, re.M)) and not is_config(code)


@pytest.mark.parametrize('code', blocks('python'))
def test_python_can_be_parsed(code):
    ast.parse(code)


@pytest.mark.parametrize('code', of_kind(is_config, 'python'))
def test_a_whole_config_builds(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mentor = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'
    Path('my_hrnet.py').write_text(f'_base_ = [{mentor!r}]')
    url = 'https://example.invalid/my_hrnet.pth'  # random weights, as nothing is downloaded
    Path('classroom.py').write_text(code.replace('my_hrnet.pth', url))
    cfg = Config.fromfile('classroom.py')
    keyed = [(entry, f'model.mentors[{i}]') for i, entry in enumerate(cfg.model.mentors)]
    entries = [read_entry(as_entry(entry, key), key) for entry, key in keyed]
    classroom, _ = build_classroom(cfg, entries)
    assert len(classroom.mentors) == len(entries)


@pytest.mark.parametrize('code', of_kind(is_part, 'python'))
def test_parts_of_a_config_build(code):
    names = {'_base_': SimpleNamespace(custom_hooks=[])}
    exec(re.sub(r'dict\(\s*\.\.\.,', 'dict(', code), names)
    model = names.get('model', {})
    for key, (registry, kind) in PARTS.items():
        if key in model:
            build_part(model[key], registry, f'model.{key}', kind=kind)
    check_options(MentorCache, model.get('cache', {}), 'model.cache')
    for hook in names.get('custom_hooks', []):
        HOOKS.build(hook)


@pytest.mark.parametrize('page', [page for page in PAGES if fenced(page, 'pycon')], ids=named)
def test_the_examples_of_a_page_give_what_they_say(page):
    code = '\n'.join(fenced(page, 'pycon'))
    test = doctest.DocTestParser().get_doctest(code, {}, page.name, None, None)
    said = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not result.failed, ''.join(said)


def commands():
    """Calls of our commands in the pages: the script or module, and its flags."""
    calls = set()
    for parameter in blocks('sh', 'bash'):
        for line in parameter.values[0].replace('\\\n', ' ').splitlines():
            line = line.split(' # ')[0]
            called = re.search(r'\b(tools/[\w.]+|demo/run\.py)|-m (mmkd_classroom[\w.]*)', line)
            if called and 'torch.distributed' not in line:
                calls.add((called[1] or called[2], tuple(re.findall(r'(?<=\s)--[\w-]+', line))))
    return sorted(calls)


@pytest.mark.parametrize(('command', 'flags'), commands())
def test_a_command_has_the_flags_it_is_shown_with(command, flags, monkeypatch, capsys):
    assert command.startswith('mmkd_classroom') or (ROOT / command).exists()
    if not flags:
        return
    shell = re.fullmatch(r'tools/\w+_(train|test)\.sh', command)
    monkeypatch.setattr(sys, 'argv', [command, '--help'])
    monkeypatch.syspath_prepend(ROOT / 'tools')
    with pytest.raises(SystemExit):
        if command.endswith('.py'):
            runpy.run_path(str(ROOT / command), run_name='__main__')
        else:
            name = f'mmkd_classroom.{shell[1]}' if shell else command
            name += '.__main__' * name.endswith('.benchmark')
            importlib.import_module(name).parse_args()
    text = capsys.readouterr().out
    assert [flag for flag in flags if flag not in text] == []


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    for name in set(re.findall(r'\b(?:mmpose|mmpretrain|mmkd_classroom)::[\w./-]+\.py', text)):
        config_file(name, page.name)
    ours = re.findall(r'(?<![\w/:-])(?:configs|tools|demo|tests)/[\w./-]+\.(?:py|sh)', text)
    # The messages in zoo.md name files of other packages.
    for name in set(ours if page.name != 'zoo.md' else []):
        assert (ROOT / name).exists(), name
    for link in set(re.findall(r'\]\((?!https?:)([^)#]+)', text)):
        assert (page.parent / link).exists(), link


def test_the_messages_that_troubleshooting_quotes_are_those_of_the_code(monkeypatch):
    pytest.importorskip('sphinx')
    monkeypatch.syspath_prepend(ROOT / 'docs' / '_extensions')
    from messages_table import error_message, messages, warning_message

    said = [
        text
        for read in (error_message, warning_message)
        for texts in messages(read).values()
        for text in texts
    ]
    page = (ROOT / 'docs' / 'reference' / 'troubleshooting.md').read_text()
    quoted = re.findall(r'^`(.+)`\n: ', page, re.M)
    assert len(quoted) > 10
    assert [quote for quote in quoted if not any(quote in text for text in said)] == []
