"""Run the project's command-line tools in the background, a few at a time.

Each run is a fork of a process that has imported the packages already, so it starts at once; its
output goes into a log file, which is followed for the progress of training.
"""

import multiprocessing
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_PRELOAD = [
    'mmkd_classroom.hooks',
    'mmkd_classroom.optim',
    'mmpose.datasets',
    'mmpose.engine',
    'mmpose.evaluation',
    'mmpose.models',
    'mmpose.visualization',
]
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
        needs: Jobs that must be done before this one starts.
        after: Called with the seconds that each tool took, when all are done.
    """

    name: str
    tools: Sequence[tuple[Path, Sequence[str], Path]]
    epochs: int
    after: Callable[[list[float]], None]
    needs: Sequence['Job'] = ()
    future: Future | None = field(default=None, repr=False)


class Workshop:
    """Runs jobs.

    Args:
        folder: Working directory of all tools.
        at_once: Number of jobs at a time.
        say: Prints a line of progress.
        preload: Modules that every tool finds imported.
    """

    def __init__(
        self,
        folder: Path,
        at_once: int,
        say: Callable[[str], None],
        preload: Sequence[str] = _PRELOAD,
    ) -> None:
        self.folder = folder
        self.at_once = at_once
        self.say = say
        self._context = multiprocessing.get_context('forkserver')
        self._context.set_forkserver_preload(list(preload))
        self._stopped = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs; each stands after those it needs.

        Raises:
            ToolError: A tool failed. The others are stopped first.
        """
        # A job that waits for others holds a thread, but by then they have started.
        with ThreadPoolExecutor(self.at_once) as pool:
            for job in jobs:
                job.future = pool.submit(self._run, job)
            try:
                done, _ = wait([job.future for job in jobs], return_when=FIRST_EXCEPTION)
                errors = [future.exception() for future in done if future.exception()]
                if errors:
                    raise errors[0]
            finally:
                self._stopped = True  # each job's thread ends its own tool

    def _run(self, job: Job) -> None:
        for other in job.needs:
            other.future.result()
        seconds = []
        for script, arguments, log in job.tools:
            if self._stopped:
                return
            start = time.monotonic()
            self._run_tool(job, script, arguments, log)
            seconds.append(time.monotonic() - start)
        job.after(seconds)

    def _run_tool(self, job: Job, script: Path, arguments: Sequence[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('')
        process = self._context.Process(
            target=_in_child, args=(str(script), list(arguments), str(log), str(self.folder))
        )
        process.start()
        follow = _Follower(log, job.epochs)
        try:
            while process.is_alive() and not self._stopped:
                process.join(timeout=0.5)
                for line in follow.news():
                    self.say(f'{job.name}: {line}')
        finally:
            _end(process)
        if process.exitcode and not self._stopped:
            tail = ''.join(f'  | {line}\n' for line in log.read_text().splitlines()[-_TAIL:])
            raise ToolError(f'{job.name}: {script.name} failed.\n{tail}The whole log: {log}')


def _end(process: multiprocessing.Process) -> None:
    """Kill what is left of a tool, and wait for it."""
    # The tool leads a group of its own: its data loading workers go with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not have made its group yet
    process.join()


def _in_child(script: str, arguments: list[str], log: str, folder: str) -> None:
    """Become ``python script arguments`` in ``folder``, with the output in ``log``."""
    os.setsid()
    with open(log, 'ab', buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.chdir(folder)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name='__main__')


class _Follower:
    """Turns new lines of a training log into lines of progress, about six in all."""

    def __init__(self, log: Path, epochs: int) -> None:
        self._file = log.open(errors='replace')
        self._epochs = epochs
        self._every = max(1, round(epochs / 6))
        self._start = time.monotonic()
        self._rest = ''

    def news(self) -> list[str]:
        *lines, self._rest = (self._rest + self._file.read()).split('\n')
        found = [_EPOCH.search(line) for line in lines]
        return [self._describe(*match.groups()) for match in found if self._is_news(match)]

    def _is_news(self, match: re.Match | None) -> bool:
        if match is None:
            return False
        epoch, step, steps = map(int, match.groups()[:3])
        return step == steps and (epoch % self._every == 0 or epoch == self._epochs)

    def _describe(self, epoch: str, step: str, steps: str, loss: str) -> str:
        left = (time.monotonic() - self._start) * (self._epochs / int(epoch) - 1)
        return f'epoch {epoch} of {self._epochs}, loss {float(loss):.5f}, {clock(left)} left'


def clock(seconds: float) -> str:
    """Minutes and seconds.

    Example:
        >>> clock(95)
        '1:35'
    """
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'
