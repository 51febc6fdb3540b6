"""Background runs of tools: order, progress, and what happens when one fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkd_classroom.benchmark.jobs import Job, ToolError, Workshop, clock

ROOT = Path(__file__).parents[2]
TRAINING = """
import sys, pathlib
for epoch in range(1, 13):
    print(f'2026 - INFO - Epoch(train) [{epoch}][1/2]  lr: 0.1  eta: 0:00:01  loss: 0.90000')
    print(f'2026 - INFO - Epoch(train) [{epoch}][2/2]  lr: 0.1  eta: 0:00:01  loss: 0.5000{epoch}')
pathlib.Path(sys.argv[1]).touch()
"""
FAILING = """
import sys
sys.stdout.buffer.write(b'some \\xff output')
raise SystemExit('no such data set')
"""
ENDLESS = """
import pathlib, subprocess, time
child = subprocess.Popen(['sleep', '600'])
pathlib.Path('endless.pid').write_text(str(child.pid))
time.sleep(600)
"""


@pytest.fixture
def workshop(tmp_path):
    said = []
    shop = Workshop(tmp_path, 2, said.append)
    shop.said = said
    return shop


def job(tmp_path, name, text, *arguments, **options):
    script = tmp_path / f'{name}.py'
    script.write_text(text)
    options = {'epochs': 12, 'after': lambda seconds: None, **options}
    return Job(name, [(script, arguments, tmp_path / f'{name}.log')], **options)


def test_runs_in_the_folder_after_what_is_needed(tmp_path, workshop):
    done = []
    first = job(tmp_path, 'first', TRAINING, 'first.done', after=done.append)
    needs = "import pathlib; assert pathlib.Path('first.done').exists()"
    workshop.run([first, job(tmp_path, 'second', needs, needs=[first])])

    assert (tmp_path / 'first.done').exists()
    assert len(done) == 1 and len(done[0]) == 1 and done[0][0] > 0


def test_progress_has_six_lines_of_whole_epochs(tmp_path, workshop):
    workshop.run([job(tmp_path, 'mentor', TRAINING, 'mentor.done')])
    heads = [line.split(', ')[:2] for line in workshop.said]
    assert heads == [
        [f'mentor: epoch {epoch} of 12', f'loss 0.5000{epoch:<2}'[:12]]
        for epoch in (2, 4, 6, 8, 10, 12)
    ]
    assert all(line.endswith(' left') for line in workshop.said)


def test_failure_shows_the_log_and_stops_the_others(tmp_path, workshop):
    endless = job(tmp_path, 'endless', ENDLESS)
    wait = (
        "import pathlib, time\nwhile not pathlib.Path('endless.pid').exists(): time.sleep(0.05)\n"
    )
    start = time.monotonic()
    with pytest.raises(ToolError) as caught:
        workshop.run([endless, job(tmp_path, 'failing', wait + FAILING)])

    assert time.monotonic() - start < 60
    message = str(caught.value)
    assert message.startswith('failing: failing.py failed.')
    assert 'some \ufffd output' in message and 'no such data set' in message
    assert str(tmp_path / 'failing.log') in message
    child = int((tmp_path / 'endless.pid').read_text())
    wait_until(lambda: not is_running(child))  # a killed process takes a moment to be gone


def test_failure_that_is_expected_stops_no_other(tmp_path, workshop):
    failures, done = [], []
    failing = job(tmp_path, 'failing', FAILING, failed=failures.append, after=done.append)
    workshop.run([failing, job(tmp_path, 'mentor', TRAINING, 'mentor.done', after=done.append)])
    assert [str(error).split('.')[0] for error in failures] == ['failing: failing']
    assert len(done) == 1 and (tmp_path / 'mentor.done').exists()
    assert failing.fraction == 1


@pytest.mark.parametrize('fresh', [False, True])
def test_each_place_has_its_environment(tmp_path, fresh):
    text = (
        'import os, pathlib, time\n'
        'pathlib.Path(os.environ["PLACE"]).touch()\n'
        'while not all(pathlib.Path(place).exists() for place in "ab"): time.sleep(0.05)\n'
    )
    shop = Workshop(tmp_path, [dict(PLACE='a'), dict(PLACE='b')], print, fresh=fresh)
    shop.run([job(tmp_path, 'first', text), job(tmp_path, 'second', text)])
    assert (tmp_path / 'a').exists() and (tmp_path / 'b').exists()


@pytest.mark.parametrize('fresh', [False, True])
def test_tools_end_with_a_process_that_is_killed(tmp_path, fresh):
    (tmp_path / 'endless.py').write_text(ENDLESS)
    (tmp_path / 'main.py').write_text(
        'from pathlib import Path\n'
        'from mmkd_classroom.benchmark.jobs import Job, Workshop\n'
        'if __name__ == "__main__":\n'
        '    tool = (Path("endless.py").absolute(), [], Path("endless.log"))\n'
        f'    Workshop(Path.cwd(), 1, print, fresh={fresh}).run([Job("x", [tool], 1, print)])\n'
    )
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    main = subprocess.Popen(
        [sys.executable, 'main.py'], cwd=tmp_path, env={**os.environ, 'PYTHONPATH': path}
    )
    note = tmp_path / 'endless.pid'
    wait_until(lambda: note.exists() and note.read_text())
    main.kill()
    main.wait()
    wait_until(lambda: not is_running(int(note.read_text())))


def test_job_whose_need_failed_does_not_start(tmp_path, workshop):
    failing = job(tmp_path, 'failing', FAILING)
    touch = "import pathlib; pathlib.Path('started').touch()"
    with pytest.raises(ToolError, match='failing'):
        workshop.run([failing, job(tmp_path, 'second', touch, needs=[failing])])
    assert not (tmp_path / 'started').exists()


def test_clock():
    assert [clock(0), clock(59.9), clock(61), clock(3725)] == ['0:00', '0:59', '1:01', '1:02:05']


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid):
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False
