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

_EPOCH = re.compile(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\].*? loss: (\S+)')
_TAIL = 12  # lines of a log that are shown when its tool fails


class ToolError(RuntimeError):
    """A tool ended with an error; the message has the end of its log and its path."""


@dataclass
class Job:
    """Runs of tools, one after the other.

    Attributes:
        name: Shown in progress lines.
        tools: ``(script, arguments, log file)`` of each run.
        epochs: Of the training among them, for the progress.
        after: Called with the seconds that each tool took, when all are done.
        needs: Jobs that must be done before this one starts.
        failed: Called with the error of a tool. By default it stops all other jobs.
        fraction: How much of it is done, in [0, 1].
    """

    name: str
    tools: Sequence[tuple[Path, Sequence[str], Path]]
    epochs: int
    after: Callable[[list[float]], None]
    needs: Sequence['Job'] = ()
    failed: Callable[[ToolError], None] | None = None
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
        process.start()
        follow = _Follower(log, job)
        try:
            while process.is_alive() and not self._stopped:
                process.join(timeout=0.5)
                for line in follow.news():
                    self.say(f'{job.name}: {line}')
        finally:
            _end(process)
        if process.exitcode and not self._stopped:
            tail = ''.join(
                f'  | {line}\n' for line in log.read_text(errors='replace').splitlines()[-_TAIL:]
            )
            raise ToolError(f'{job.name}: {script.name} failed.\n{tail}The whole log: {log}')


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
    """Turns new lines of a training log into lines of progress, about six in all."""

    def __init__(self, log: Path, job: Job) -> None:
        self._file = log.open(errors='replace')
        self._job = job
        self._every = max(1, round(job.epochs / 6))
        self._start = time.monotonic()
        self._rest = ''

    def news(self) -> list[str]:
        *lines, self._rest = (self._rest + self._file.read()).split('\n')
        found = [match for match in map(_EPOCH.search, lines) if match]
        if found:
            epoch, step, steps = map(int, found[-1].groups()[:3])
            # Other tools may come after the training.
            self._job.fraction = 0.99 * (epoch - 1 + step / steps) / self._job.epochs
        return [self._describe(*match.groups()) for match in found if self._is_news(match)]

    def _is_news(self, match: re.Match) -> bool:
        epoch, step, steps = map(int, match.groups()[:3])
        return step == steps and (epoch % self._every == 0 or epoch == self._job.epochs)

    def _describe(self, epoch: str, step: str, steps: str, loss: str) -> str:
        left = (time.monotonic() - self._start) * (self._job.epochs / int(epoch) - 1)
        return f'epoch {epoch} of {self._job.epochs}, loss {float(loss):.5f}, {clock(left)} left'


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours before them where there are any.

    Example:
        >>> clock(95), clock(3695)
        ('1:35', '1:01:35')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, rest = divmod(minutes, 60)
    return f'{hours}:{rest:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'
