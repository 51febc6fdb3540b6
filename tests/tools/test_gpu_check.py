"""The check of a machine with GPUs, as far as it runs without one."""

import json

import pytest
import runs
import torch
from conftest import TOOLS

CHILD = """
import os, sys, time
part = sys.argv[-1]
print(part, os.getpgid(0), flush=True)
if part == 'ddp':
    os.abort()
if part == 'compile':
    time.sleep(600)
if part == 'amp-fp16':
    raise SystemExit('no such thing')
print('result: {"outcome": "%s", "said": ["a | b"]}' % ('skipped' if part == 'tests' else 'pass'))
"""


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import gpu_check

    return gpu_check


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_says_so_in_a_line(tool, tmp_path, capsys):
    assert tool.main(['--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: torch ') and '--device cpu' in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_part_that_crashes_or_hangs_does_not_end_the_others(tool, tmp_path, monkeypatch, capsys):
    (tmp_path / 'child.py').write_text(CHILD)
    monkeypatch.setattr(tool, '__file__', str(tmp_path / 'child.py'))
    parts = ['ddp', 'compile', 'amp-fp16', 'tests', 'step-cost']
    options = ['--device', 'cpu', '--out', str(tmp_path / 'out'), '--time-limit', '2']
    assert tool.main([*options, '--parts', *parts]) == 1
    (folder,) = (tmp_path / 'out').iterdir()
    results = json.loads((folder / 'results.json').read_text())
    outcomes = {part['part']: (part['outcome'], part['said'][0]) for part in results['parts']}
    assert outcomes == {
        'ddp': ('FAIL', 'its process was ended by SIGABRT, see ddp.log'),
        'compile': ('FAIL', 'its process took longer than 2 s, see compile.log'),
        'amp-fp16': ('FAIL', 'its process ended with 1, see amp-fp16.log'),
        'tests': ('skipped', 'a | b'),
        'step-cost': ('pass', 'a | b'),
    }
    assert results['machine']['torch'] == torch.__version__
    report = (folder / 'report.md').read_text()
    assert '| step-cost | pass | a \\| b | ' in report
    assert report in capsys.readouterr().out
    assert tool.main([*options, '--time-limit', '60', '--parts', 'tests', 'step-cost']) == 0


@pytest.fixture
def tiny(tool, tmp_path, monkeypatch):
    """Both kinds of classrooms, tiny."""
    for kind in ('pose', 'classes'):
        (tmp_path / kind).mkdir()
        runs.config(kind, tmp_path / kind)
    paths = tuple(str(tmp_path / kind / 'classroom.py') for kind in ('pose', 'classes'))
    monkeypatch.setitem(tool.CONFIGS, 'cpu', paths)
    return tool


def test_mixed_precision_is_near_full_precision(tiny, monkeypatch):
    found = tiny.outcome(tiny.PARTS['amp-bf16'], 'cpu')
    assert found['outcome'] == 'pass', found
    assert len(found['said']) == 2 and 'after 10 steps' in found['said'][0]
    assert tiny.outcome(tiny.PARTS['amp-fp16'], 'cpu')['outcome'] == 'skipped'
    first_losses, scales = tiny.first_losses, iter((1.0, 1.1))

    def off(*args):
        scale = next(scales)
        return {name: scale * value for name, value in first_losses(*args).items()}

    monkeypatch.setattr(tiny, 'first_losses', off)
    found = tiny.outcome(tiny.PARTS['amp-bf16'], 'cpu')
    assert found['outcome'] == 'FAIL' and 'in float32' in found['said'][0]


@pytest.mark.slow
def test_two_processes_are_one(tiny):
    found = tiny.outcome(tiny.PARTS['ddp'], 'cpu')
    assert found['outcome'] == 'pass', found
    assert (
        len(found['said']) == 2
        and '2 processes (gloo) give the gradient of one' in found['said'][0]
    )


@pytest.mark.slow
def test_costs_are_those_of_the_benchmarks(tiny, monkeypatch):
    monkeypatch.setitem(tiny.CONFIGS, 'cpu', tiny.CONFIGS['cpu'][1:])
    (full, amp) = tiny.outcome(tiny.PARTS['step-cost'], 'cpu')['said']
    assert full.startswith('classroom: ratio ') and amp.startswith('classroom --amp: ratio ')
    found = tiny.outcome(tiny.PARTS['epoch-cost'], 'cpu')
    assert found['outcome'] == 'pass' and 'from the cache' in found['said'][0]
    assert found['said'][1].startswith('classroom: samples/s: ')


def test_what_needs_a_gpu_is_skipped_with_its_reason(tool):
    for name in ('tests', 'step-waits', 'amp-fp16'):
        found = tool.outcome(tool.PARTS[name], 'cpu')
        assert found['outcome'] == 'skipped' and found['said'][0]
