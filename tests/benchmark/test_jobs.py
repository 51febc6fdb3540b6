"""Background runs of tools: order, progress, and what happens when one fails."""

import time

import pytest

from mmkd_classroom.benchmark.jobs import Job, ToolError, Workshop, clock

TRAINING = """
import sys, pathlib
for epoch in range(1, 13):
    print(f'2026 - INFO - Epoch(train) [{epoch}][1/2]  lr: 0.1  eta: 0:00:01  loss: 0.90000')
    print(f'2026 - INFO - Epoch(train) [{epoch}][2/2]  lr: 0.1  eta: 0:00:01  loss: 0.5000{epoch}')
pathlib.Path(sys.argv[1]).touch()
"""
FAILING = "print('some output'); raise SystemExit('no such data set')"
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
    assert 'some output' in message and 'no such data set' in message
    assert str(tmp_path / 'failing.log') in message
    child = int((tmp_path / 'endless.pid').read_text())
    deadline = time.monotonic() + 30
    while is_running(child):  # a killed process takes a moment to be gone
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_job_whose_need_failed_does_not_start(tmp_path, workshop):
    failing = job(tmp_path, 'failing', FAILING)
    touch = "import pathlib; pathlib.Path('started').touch()"
    with pytest.raises(ToolError, match='failing'):
        workshop.run([failing, job(tmp_path, 'second', touch, needs=[failing])])
    assert not (tmp_path / 'started').exists()


def test_clock():
    assert [clock(0), clock(59.9), clock(61), clock(3725)] == ['0:00', '0:59', '1:01', '1:02:05']


def is_running(pid):
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False
