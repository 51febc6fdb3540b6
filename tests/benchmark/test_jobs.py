"""Background runs of tools: order, progress, and what happens when one fails."""

import os
import subprocess
import sys
import time
from multiprocessing import popen_forkserver
from pathlib import Path

import pytest

from mmkd_classroom.benchmark import jobs
from mmkd_classroom.benchmark.jobs import Job, JobRunner, Progress, clock

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


class Log:
    """Collects what jobs report."""

    def __init__(self):
        self.lines, self.done, self.errors = [], [], []

    def runner(self, folder, slots=2, **options):
        return JobRunner(folder, slots, self.lines.append, **options)

    def job(self, folder, name, text, *arguments):
        script = folder / f'{name}.py'
        script.write_text(text)
        tools = [(script, arguments, folder / f'{name}.log')]
        return Job(name, tools, lambda: self.done.append(name), self.errors.append, epochs=12)


@pytest.fixture
def log():
    return Log()


def test_tools_run_in_the_folder_one_after_the_other(tmp_path, log):
    first = log.job(tmp_path, 'first', TRAINING, 'first.done')
    check = "import pathlib; assert pathlib.Path('first.done').exists()"
    second = log.job(tmp_path, 'second', check)
    first.tools += second.tools
    log.runner(tmp_path).run([first])
    assert log.done == ['first'] and not log.errors
    assert first.fraction == 1


STEP = '2026 - INFO - {}  lr: 0.1  eta: 0:00:01  time: 0.1  loss: 0.25000  loss_kpt: 0.2'


class Clock:
    """Time that passes when told."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def following(tmp_path, monkeypatch):
    """``at(seconds, text)``: the line of progress after so many seconds, with text in the log."""
    clock = Clock()
    monkeypatch.setattr(jobs, 'time', clock)
    log = tmp_path / 'train.log'
    log.touch()

    def follow(**options):
        options = dict(dict(epochs=4), **options)
        job = Job('x', [], done=print, failed=print, **options)
        progress = Progress(log, 'train.py', job, interval=20)

        def at(seconds, text=''):
            clock.now = 1000.0 + seconds
            with log.open('a') as file:
                file.write(f'{text}\n')
            return progress.update()

        at.end = progress.summary
        at.job = job
        return at

    return follow


@pytest.mark.parametrize(
    'position, options, said, fraction',
    [
        # The last line of an epoch need not be that of its last step.
        ('Epoch(train)  [1][50/75]', {}, 'epoch 1 of 4, step 50 of 75, loss 0.25000, ', 1 / 6),
        ('Epoch(train)   [2][ 5/10]', {}, 'epoch 2 of 4, step 5 of 10, loss 0.25000, ', 3 / 8),
        ('Iter(train) [ 100/2000]', dict(epochs=None), 'step 100 of 2000, loss 0.25000, ', 1 / 20),
        # A LogProcessor by epoch counts the steps of an iteration-based training through.
        (
            'Epoch(train) [3][250/100]',
            dict(epochs=None, iters=2000),
            'step 250 of 2000, loss 0.25000, ',
            1 / 8,
        ),
        ('Iter(train) [ 5/40]', {}, 'step 5 of 40, loss 0.25000, ', 1 / 8),
    ],
)
def test_progress_of_each_kind_of_log(following, position, options, said, fraction):
    at = following(**options)
    assert at(12, STEP.format(position)) == ''
    left = clock(12 / fraction - 20)
    assert at(20) == f'x: {said}{left} left'
    assert at.job.fraction == pytest.approx(0.99 * fraction)


def test_progress_is_told_every_20_seconds_whatever_the_log_says(following):
    at = following()
    said = [at(0.5 * tick, 'some line') for tick in range(130)]
    assert [(tick / 2, line) for tick, line in enumerate(said) if line] == [
        (20, 'x: no step in the log of train.py yet, 0:20 so far'),
        (40, 'x: no step in the log of train.py yet, 0:40 so far'),
        (60, 'x: no step in the log of train.py yet, 1:00 so far'),
    ]
    lines = '\n'.join(STEP.format(f'Epoch(train) [2][{step}/9]') for step in range(1, 10))
    assert at(66, lines) == ''  # many at once are no reason for many
    assert at(80) == 'x: epoch 2 of 4, step 9 of 9, loss 0.25000, 0:52 left'
    assert at(100) == 'x: epoch 2 of 4, step 9 of 9, loss 0.25000, 0:32 left'
    assert at(150) == 'x: epoch 2 of 4, step 9 of 9, loss 0.25000, 0:00 left'
    at(160, STEP.format('Epoch(train) [4][5/9]'))
    assert at.end() == 'x: epoch 4 of 4, step 5 of 9, loss 0.25000, done in 2:40'


def test_a_test_is_told_too_and_is_no_training(following):
    at = following()
    at(5, '2026 - INFO - Epoch(test) [ 50/300]    eta: 0:00:25  time: 0.1  data_time: 0.01')
    assert at(20) == 'x: test, step 50 of 300, 0:10 left'
    assert at.end() == '' and at.job.fraction == 0


def test_progress_of_a_tool_that_runs(tmp_path, log):
    job = log.job(tmp_path, 'mentor', TRAINING, 'mentor.done')
    log.runner(tmp_path, interval=0).run([job])
    last = log.lines[-1]
    assert last.startswith('mentor: epoch 12 of 12, step 2 of 2, loss 0.500012, done in ')


def test_no_two_threads_ask_for_an_exit_code(tmp_path, log, monkeypatch):
    """Whenever Python starts a process it asks for those of all others. The second gets 255."""
    asked, together, poll = set(), [], popen_forkserver.Popen.poll

    def slowly(popen, *args):
        if popen.returncode is None:
            together.append(popen in asked)
        asked.add(popen)
        time.sleep(0.01)  # so that threads would meet here
        try:
            return poll(popen, *args)
        finally:
            asked.discard(popen)

    monkeypatch.setattr(popen_forkserver.Popen, 'poll', slowly)
    short = [log.job(tmp_path, f'short_{index}', 'import os') for index in range(12)]
    log.runner(tmp_path, slots=4).run(short)
    assert not log.errors and len(log.done) == 12
    assert together and not any(together)


def test_a_tool_that_is_killed_is_told(tmp_path, log):
    killed = log.job(tmp_path, 'killed', 'import os; os.kill(os.getpid(), 9)')
    log.runner(tmp_path).run([killed])
    (error,) = log.errors
    assert str(error).startswith('killed: killed.py failed (Killed).')


def test_failure_shows_the_log_and_stops_no_other(tmp_path, log):
    failing = log.job(tmp_path, 'failing', FAILING)
    log.runner(tmp_path).run([failing, log.job(tmp_path, 'mentor', TRAINING, 'mentor.done')])
    (error,) = log.errors
    assert str(error).startswith('failing: failing.py failed (exit code 1).')
    assert 'some \ufffd output' in str(error) and 'no such data set' in str(error)
    assert str(tmp_path / 'failing.log') in str(error)
    assert failing.fraction == 1
    assert log.done == ['mentor'] and (tmp_path / 'mentor.done').exists()


def test_an_error_of_ours_stops_all_tools(tmp_path, log):
    wait = (
        "import pathlib, time\nwhile not pathlib.Path('endless.pid').exists(): time.sleep(0.05)\n"
    )

    def broken():
        raise KeyboardInterrupt

    job = log.job(tmp_path, 'waiting', wait)
    job.done = broken
    never = log.job(tmp_path, 'never', "import pathlib; pathlib.Path('started').touch()")
    with pytest.raises(KeyboardInterrupt):
        log.runner(tmp_path).run([log.job(tmp_path, 'endless', ENDLESS), job, never])
    child = int((tmp_path / 'endless.pid').read_text())
    wait_until(lambda: not is_running(child))  # a killed process takes a moment to end
    assert not log.done and not log.errors


@pytest.mark.parametrize('fresh', [False, True])
def test_each_slot_has_its_environment(tmp_path, log, fresh):
    text = (
        'import os, pathlib, time\n'
        'pathlib.Path(os.environ["SLOT"]).touch()\n'
        'while not all(pathlib.Path(slot).exists() for slot in "ab"): time.sleep(0.05)\n'
    )
    runner = log.runner(tmp_path, [dict(SLOT='a'), dict(SLOT='b')], fresh=fresh)
    runner.run([log.job(tmp_path, 'first', text), log.job(tmp_path, 'second', text)])
    assert (tmp_path / 'a').exists() and (tmp_path / 'b').exists()


@pytest.mark.parametrize('fresh', [False, True])
def test_tools_end_with_a_process_that_is_killed(tmp_path, fresh):
    (tmp_path / 'endless.py').write_text(ENDLESS)
    (tmp_path / 'main.py').write_text(
        'from pathlib import Path\n'
        'from mmkd_classroom.benchmark.jobs import Job, JobRunner\n'
        'if __name__ == "__main__":\n'
        '    tool = (Path("endless.py").absolute(), [], Path("endless.log"))\n'
        f'    runner = JobRunner(Path.cwd(), 1, print, fresh={fresh})\n'
        '    runner.run([Job("x", [tool], print, print)])\n'
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


def test_clock():
    assert [clock(0), clock(59.9), clock(61), clock(3725)] == ['0:00', '0:59', '1:01', '1:02:05']


def wait_until(condition):
    deadline = time.monotonic() + 120  # a machine may be busy
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
