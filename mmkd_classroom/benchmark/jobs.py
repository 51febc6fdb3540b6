"""Run the project's command-line tools in the background, a few at a time.

Each run is a fork of a process that has imported the packages already, so it starts at once; its
output goes into a log file, which is followed for the progress of training.
"""

import multiprocessing
import os
import queue
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

# `Epoch(train)  [2][ 50/75]  ... loss: 0.5`, `Iter(train) [ 100/2000] ...`, `Epoch(test) [ 50/300]`
_STEP = re.compile(
    r'(?:Epoch|Iter)\((?P<mode>\w+)\) *(?:\[ *(?P<epoch>\d+)\])?\[ *(?P<step>\d+)/ *(?P<of>\d+)\]'
    r'(?:.*? loss: (?P<loss>\S+))?'
)
_SILENCE_S = 20  # at most, between two lines of progress of a tool
_TAIL = 12  # lines of a log that are shown when its tool fails


class ToolError(RuntimeError):
    """A tool ended with an error; the message has the end of its log and its path."""


@dataclass
class Job:
    """Runs of tools, one after the other.

    Attributes:
        name: Shown in progress lines.
        tools: ``(script, arguments, log file)`` of each run.
        epochs: Of the training among them, for the progress; None where it is iteration-based.
        after: Called with the seconds that each tool took, when all are done.
        needs: Jobs that must be done before this one starts.
        failed: Called with the error of a tool. By default it stops all other jobs.
        iters: Of an iteration-based training.
        fraction: How much of it is done, in [0, 1].
    """

    name: str
    tools: Sequence[tuple[Path, Sequence[str], Path]]
    epochs: int | None
    after: Callable[[list[float]], None]
    needs: Sequence['Job'] = ()
    failed: Callable[[ToolError], None] | None = None
    iters: int | None = None
    fraction: float = 0.0
    future: Future | None = field(default=None, repr=False)


class Workshop:
    """Runs jobs.

    Args:
        folder: Working directory of all tools.
        at_once: Number of jobs at a time, or one set of environment variables for each of them,
            such as ``[{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}]``.
        say: Prints a line of progress.
        preload: Modules that are imported once for all tools; where they start afresh, those of
            the main script, which each child process imports before it starts one.
        fresh: Start a new Python for each tool, in place of a fork: where there is a GPU, as the
            packages ask for it when they are imported and CUDA does not work in a fork after that.
    """

    def __init__(
        self,
        folder: Path,
        at_once: int | Sequence[Mapping[str, str]],
        say: Callable[[str], None],
        preload: Sequence[str] = (),
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.places = [{}] * at_once if isinstance(at_once, int) else list(at_once)
        self.say = say
        self.fresh = fresh
        self._context = multiprocessing.get_context('forkserver')
        self._context.set_forkserver_preload(list(preload))
        self._free: queue.Queue[Mapping[str, str]] = queue.Queue()
        for place in self.places:
            self._free.put(place)
        self._stopped = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs; each stands after those it needs.

        Raises:
            ToolError: A tool failed whose job does not say what to do then. The others are
                stopped first.
        """
        # A job that waits for others holds a thread, but by then they have started.
        with ThreadPoolExecutor(len(self.places)) as pool:
            for job in jobs:
                job.future = pool.submit(self._run, job)
            try:
                done, _ = wait([job.future for job in jobs], return_when=FIRST_EXCEPTION)
                errors = [future.exception() for future in done if future.exception()]
                if errors:
                    raise errors[0]
            except BaseException:
                self._stopped = True  # each job's thread ends its own tool
                raise

    def _run(self, job: Job) -> None:
        for other in job.needs:
            other.future.result()
        seconds = []
        place = self._free.get()
        try:
            for tool in job.tools:
                if self._stopped:
                    return
                start = time.monotonic()
                self._run_tool(job, tool, place)
                seconds.append(time.monotonic() - start)
            job.fraction = 1.0
        except ToolError as error:
            if job.failed is None:
                raise
            job.fraction = 1.0
            job.failed(error)
        else:
            if not self._stopped:
                job.after(seconds)
        finally:
            self._free.put(place)

    def _run_tool(
        self, job: Job, tool: tuple[Path, Sequence[str], Path], place: Mapping[str, str]
    ) -> None:
        script, arguments, log = tool
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('')
        command = [str(script), *arguments]
        process = self._context.Process(
            target=_in_child, args=(command, str(log), str(self.folder), dict(place), self.fresh)
        )
        follow = _Follower(log, script.name, job)
        self._begin(process, follow)
        try:
            while process.is_alive() and not self._stopped:
                process.join(timeout=0.5)
                self._tell(follow.news())
        finally:
            _end(process)
        if self._stopped:
            return
        if process.exitcode:
            tail = ''.join(
                f'  | {line}\n' for line in log.read_text(errors='replace').splitlines()[-_TAIL:]
            )
            raise ToolError(f'{job.name}: {script.name} failed.\n{tail}The whole log: {log}')
        self._tell(follow.summary())

    def _begin(self, process: multiprocessing.Process, follow: '_Follower') -> None:
        """Start a tool: the first one waits until the packages are imported."""
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(process.start)
            while wait([starting], timeout=0.5).not_done:
                self._tell(follow.news())
            starting.result()

    def _tell(self, line: str) -> None:
        if line:
            self.say(line)


def preload(scope: str) -> list[str]:
    """What a tool imports for a config of ``default_scope`` 'mmpose' or 'mmpretrain'."""
    parts = ('datasets', 'engine', 'evaluation', 'models', 'visualization')
    ours = ['mmkd_classroom.hooks', 'mmkd_classroom.optim']
    return [*ours, *(f'{scope}.{part}' for part in parts)]


def _end(process: multiprocessing.Process) -> None:
    """Kill what is left of a tool, and wait for it."""
    # The tool leads a group of its own: its data loading workers go with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not have made its group yet
    process.join()


def _in_child(
    command: list[str], log: str, folder: str, environment: dict[str, str], fresh: bool
) -> None:
    """Become ``python command`` in ``folder``, with the output in ``log``."""
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with open(log, 'ab', buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.chdir(folder)
    os.environ.update(environment)
    if fresh:
        raise SystemExit(subprocess.call([sys.executable, *command]))
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name='__main__')


def _end_with_parent() -> None:
    """Kill this process and all that it started once the one that runs jobs is gone.

    A SIGKILL leaves it no time to do so, and what went on would write into the same folders as
    the run that takes its place.
    """
    connection.wait([multiprocessing.parent_process().sentinel])
    os.killpg(os.getpid(), signal.SIGKILL)


class _Follower:
    """Turns a tool's log into lines of progress, by its own clock.

    When MMEngine writes depends on the logger's interval, the length of an epoch and the kind of
    loop, and a line of its may be the last for minutes.
    """

    def __init__(self, log: Path, tool: str, job: Job) -> None:
        self._file = log.open(errors='replace')
        self._tool = tool
        self._job = job
        self._start = self._told = time.monotonic()
        self._rest = ''
        self._last: re.Match | None = None
        self._read = self._start  # when the last step was read

    def news(self) -> str:
        """A line where it is time for one, else nothing."""
        now = time.monotonic()
        self._look(now)
        if now - self._told < _SILENCE_S:
            return ''
        self._told = now
        return f'{self._job.name}: {self._describe(now)}'

    def summary(self) -> str:
        """What is to be said of a training when it is over; nothing of other tools."""
        now = time.monotonic()
        self._look(now)
        if self._last is None or not self._trains:
            return ''
        return f'{self._job.name}: {self._where}, done in {clock(now - self._start)}'

    def _look(self, now: float) -> None:
        """Read what is new in the log."""
        *lines, self._rest = (self._rest + self._file.read()).split('\n')
        found = [match for match in map(_STEP.search, lines) if match]
        if found:
            self._last, self._read = found[-1], now
            if self._trains:  # other tools may come after the training
                self._job.fraction = 0.99 * self._share

    def _describe(self, now: float) -> str:
        if self._last is None:
            return f'no step in the log of {self._tool} yet, {clock(now - self._start)} so far'
        spent = self._read - self._start
        left = spent / self._share - spent - (now - self._read)
        return f'{self._where}, {clock(max(left, 0))} left'

    @property
    def _trains(self) -> bool:
        return self._last['mode'] == 'train'

    @property
    def _position(self) -> tuple[int, int, int]:
        """The epoch, or 0 where none is counted; the step; and of how many."""
        epoch, step, of = (int(self._last[key] or 0) for key in ('epoch', 'step', 'of'))
        if self._trains and self._job.iters:  # whatever the log's lines count
            return 0, step, self._job.iters
        return epoch, step, of

    @property
    def _share(self) -> float:
        """How much of the tool's work is done, in (0, 1]."""
        epoch, step, of = self._position
        if self._trains and epoch:
            return (epoch - 1 + step / of) / self._job.epochs
        return step / of

    @property
    def _where(self) -> str:
        epoch, step, of = self._position
        parts = [] if self._trains else [self._last['mode']]
        if self._trains and epoch:
            parts.append(f'epoch {epoch} of {self._job.epochs}')
        parts.append(f'step {step} of {of}')
        if self._last['loss']:
            parts.append(f'loss {self._last["loss"]}')
        return ', '.join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours before them where there are any.

    Example:
        >>> clock(95), clock(3695)
        ('1:35', '1:01:35')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, rest = divmod(minutes, 60)
    return f'{hours}:{rest:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'
