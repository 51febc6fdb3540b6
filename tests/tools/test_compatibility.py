"""The table of versions that were tried: what is done again, and what is said."""

import json

import pytest


@pytest.fixture
def tool(monkeypatch):
    from conftest import TOOLS

    monkeypatch.syspath_prepend(TOOLS)
    import compatibility

    return compatibility


REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="one"/>
<testcase classname="tests.test_a" name="two"><failure message="no"/></testcase>
<testcase classname="tests.test_a" name="three"><error message="no"/></testcase>
<testcase classname="tests.test_a" name="four"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""


def test_counts_are_those_of_the_report(tool):
    failures = ['tests.test_a::two', 'tests.test_a::three']
    assert tool.counted(REPORT) == dict(passed=1, skipped=1, failures=failures)


def test_rows_name_every_package_of_the_table_and_tests_that_exist(tool):
    for name, (python, packages) in tool.ROWS.items():
        assert python in ('3.10', '3.11', '3.12'), name
        assert '–' not in tool.cells(packages), name
    for test in tool.TESTS:
        path, _, function = test.partition('::')
        assert f'def {function}' in (tool.ROOT / path).read_text()


def test_a_finished_row_is_not_done_again_unless_asked(tool, tmp_path, monkeypatch, capsys):
    asked = []

    def examine(row):
        asked.append(row.name)
        record = dict(row=row.name, python=row.python, packages=row.packages)
        return record | (
            dict(failed='build_mmcv', error='error: no') if len(asked) == 1
            else dict(passed=3, skipped=0, failures=[])
        )  # fmt: skip

    monkeypatch.setattr(tool, 'examine', examine)
    call = [str(tmp_path), '--rows', 'torch 2.1']
    for again, tried in (([], 1), ([], 2), ([], 2), (['--again'], 3), (['--list'], 3)):
        assert tool.main([*call, *again]) == 0
        assert len(asked) == tried
    assert 'torch 2.1: build mmcv fails' in capsys.readouterr().out
    python, packages = tool.ROWS['torch 2.1']
    monkeypatch.setitem(tool.ROWS, 'torch 2.1', (python, dict(packages, torch='2.1.1')))
    tool.main(call)
    assert len(asked) == 4  # its versions changed


def test_the_table_has_the_last_record_of_each_row(tool, tmp_path):
    python, packages = tool.ROWS['forks']
    record = dict(row='forks', python=python, packages=packages, date='2026-01-02', commit='abc')
    problems = dict(problems=['numpy: 2.4 is installed'], remedies=["pip install 'numpy<2.4'"])
    done = dict(record, passed=3, skipped=1, failures=['tests.test_a::two'], **problems)
    lines = [dict(record, failed='build_mmcv', error='error: no compiler'), done]
    text = '\n'.join(map(json.dumps, lines)) + '\n{"row": "forks", "pyth'  # a killed call
    (tmp_path / 'results.jsonl').write_text(text)
    tool.main([str(tmp_path), '--table', str(tmp_path / 'page.md')])
    page = (tmp_path / 'page.md').read_text()
    assert '| 2.3.6 (onedl) | 0.10.12 (onedl) | 1.3.2 | 1.3.6 (onedl) | 3.5.1 (onedl) |' in page
    assert '| 3 passed, 1 failed, 1 skipped | 2026-01-02, abc |' in page
    assert "- Remedy: `pip install 'numpy<2.4'`" in page and '- Failed: `tests.test_a::two`' in page
    assert 'no compiler' not in page


def test_joined_sources_are_all_there_and_neighbours_apart(tool, tmp_path):
    for name in ('a', 'a_rotated', 'b', 'pybind'):
        (tmp_path / f'{name}.cpp').write_text(f'// {name}\n')
    (tmp_path / 'a.cpp').write_text('#define min(a, b) a\n')
    tool.join(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.glob('*.cpp')) == [
        'joined_0.cpp', 'joined_1.cpp', 'pybind.cpp',
    ]  # fmt: skip
    head = '#include <torch/extension.h>\n'
    assert (tmp_path / 'joined_0.cpp').read_text() == head + '#include "b.inc"\n#include "a.inc"\n'
    assert (tmp_path / 'joined_1.cpp').read_text() == head + '#include "a_rotated.inc"\n'
    assert (tmp_path / 'b.inc').read_text() == '// b\n'


def test_remarks_are_those_of_check_env(tool):
    output = """Device: no GPU

mmcv (for core): OSError: odd
mmpose (for pose): OSError: odd
    pip install mmcv

sphinx (for docs): not installed; >=8 is needed.
    pip install sphinx

Ready for: tests, report.
"""
    assert tool.remarks(output) == dict(
        ready=['tests', 'report'],
        problems=['mmcv: OSError: odd', 'mmpose: OSError: odd'],
        remedies=['pip install mmcv'],
    )
