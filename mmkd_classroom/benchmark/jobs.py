"""Run the project's command-line tools in the background, a few at a time.

Each tool runs in a fork of a process that has already imported the packages, so it starts fast. Its
output is written to a log file, from which the progress of training is read.
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
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

# `Epoch(train)  [2][ 50/75]  ... loss: 0.5`, `Iter(train) [ 100/2000] ...`, `Epoch(test) [ 50/300]`
_STEP = re.compile(
    r'(?:Epoch|Iter)\((?P<mode>\w+)\) *(?:\[ *(?P<epoch>\d+)\])?\[ *(?P<step>\d+)/ *(?P<of>\d+)\]'
    r'(?:.*? loss: (?P<loss>\S+))?'
)
# glibc returns the memory of a large tensor to the kernel, which clears it again for the next one.
# With these values it keeps it, and training small networks on a CPU is faster.
_KEEP_MEMORY = {'MALLOC_MMAP_THRESHOLD_': str(2**30), 'MALLOC_TRIM_THRESHOLD_': str(2**33)}
_TAIL = 12  # lines of the log that are shown when a tool fails


class ToolError(RuntimeError):
    """A tool failed. The message has the path of its log and the log's last lines."""


@dataclass
class Job:
    """Tools that run one after the other.

    Attributes:
        name: Shown in progress lines.
        tools: ``(script, arguments, log file)`` of each tool.
        done: Called when all tools have succeeded.
        failed: Called with the error when a tool has failed.
        epochs: Number of epochs of the training, for its progress; None if it counts iterations.
        iters: Number of iterations of an iteration-based training.
        fraction: Share of the work that is done, in [0, 1].
    """

    name: str
    tools: Sequence[tuple[Path, Sequence[str], Path]]
    done: Callable[[], None]
    failed: Callable[[ToolError], None]
    epochs: int | None = None
    iters: int | None = None
    fraction: float = 0.0


class JobRunner:
    """Runs jobs in parallel.

    Args:
        folder: Working directory of all tools.
        slots: Number of jobs at a time, or the environment variables of each of them, such as
            ``[{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}]``.
        log: Prints a line of progress.
        preload: Modules that are imported once for all tools. With ``fresh``, these are the modules
            of the main script, which each child process imports.
        fresh: Start a new Python for each tool instead of a fork. Needed with a GPU: the packages
            initialise CUDA when they are imported, and CUDA does not work in a fork after that.
        interval: Seconds between two lines of progress of a tool.
    """

    def __init__(
        self,
        folder: Path,
        slots: int | Sequence[Mapping[str, str]],
        log: Callable[[str], None],
        preload: Sequence[str] = (),
        fresh: bool = False,
        interval: float = 15,
    ) -> None:
        self.folder = folder
        self.slots = [{}] * slots if isinstance(slots, int) else list(slots)
        self.log = log
        self.fresh = fresh
        self.interval = interval
        for name, value in _KEEP_MEMORY.items():  # read when the fork server starts
            os.environ.setdefault(name, value)
        self._context = multiprocessing.get_context('forkserver')
        self._context.set_forkserver_preload(list(preload))
        self._stopped = False
        self._asking = threading.Lock()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs. An interruption stops the tools that are running."""
        free: queue.Queue[Mapping[str, str]] = queue.Queue()
        for slot in self.slots:
            free.put(slot)
        with ThreadPoolExecutor(len(self.slots)) as pool:
            futures = [pool.submit(self._run, job, free) for job in jobs]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stopped = True  # each thread then ends its own tool
                raise

    def _run(self, job: Job, free: queue.Queue) -> None:
        slot = free.get()
        try:
            for tool in job.tools:
                self._run_tool(job, tool, slot)
            if not self._stopped:
                job.fraction = 1.0
                job.done()
        except ToolError as error:
            job.fraction = 1.0
            job.failed(error)
        finally:
            free.put(slot)

    def _run_tool(
        self, job: Job, tool: tuple[Path, Sequence[str], Path], slot: Mapping[str, str]
    ) -> None:
        if self._stopped:
            return
        script, arguments, log = tool
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('')
        command = [str(script), *arguments]
        process = self._context.Process(
            target=_in_child, args=(command, str(log), str(self.folder), dict(slot), self.fresh)
        )
        progress = Progress(log, script.name, job, self.interval)
        # Each start asks for the exit codes of all processes. Of two threads that ask for the same
        # one, the second gets 255.
        with self._asking:
            process.start()
        try:
            while not self._stopped and not connection.wait([process.sentinel], timeout=0.5):
                if line := progress.update():
                    self.log(line)
        finally:
            with self._asking:
                _end(process)
        if self._stopped:
            return
        if process.exitcode:
            lines = log.read_text(errors='replace').splitlines()[-_TAIL:]
            tail = ''.join(f'  | {line}\n' for line in lines)
            code = process.exitcode
            how = signal.strsignal(-code) if code < 0 else f'exit code {code}'
            raise ToolError(
                f'{job.name}: {script.name} failed ({how}).\n{tail}The whole log: {log}'
            )
        if line := progress.summary():
            self.log(line)


def preload(scope: str) -> list[str]:
    """The modules that a tool needs for a config of ``default_scope`` 'mmpose' or 'mmpretrain'."""
    parts = ('datasets', 'engine', 'evaluation', 'models', 'visualization')
    ours = ['mmkd_classroom.hooks', 'mmkd_classroom.optim']
    return [*ours, *(f'{scope}.{part}' for part in parts)]


def _end(process: multiprocessing.Process) -> None:
    """Kill a tool with its data loading workers, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not have made its process group yet
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
    """Wait until the process that runs the jobs has ended; then kill this tool's process group.

    A process that is killed by SIGKILL cannot end its tools itself. A remaining tool would write to
    the same folders as the tools of the next start.
    """
    connection.wait([multiprocessing.parent_process().sentinel])
    os.killpg(os.getpid(), signal.SIGKILL)


class Progress:
    """Turns the log of a tool into lines of progress.

    MMEngine may write no line for minutes, depending on the logger's interval, the length of an
    epoch and the kind of loop. So the time between two lines of progress is measured here.

    Args:
        log: Log file of the tool.
        tool: Name of the tool.
        job: Its job, whose ``fraction`` is updated.
        interval: Seconds between two lines of progress.
    """

    def __init__(self, log: Path, tool: str, job: Job, interval: float) -> None:
        self._file = log.open(errors='replace')
        self._tool = tool
        self._job = job
        self._interval = interval
        self._start = self._told = self._seen = time.monotonic()
        self._rest = ''
        self._trains = False
        self._share = 0.0
        self._where = ''

    def update(self) -> str:
        """Read the log. Returns a line of progress if it is time for one, else an empty string."""
        now = time.monotonic()
        self._read(now)
        if now - self._told < self._interval:
            return ''
        self._told = now
        if not self._where:
            spent = clock(now - self._start)
            return f'{self._job.name}: no step in the log of {self._tool} yet, {spent} so far'
        spent = self._seen - self._start
        left = spent / self._share - (now - self._start)
        return f'{self._job.name}: {self._where}, {clock(max(left, 0))} left'

    def summary(self) -> str:
        """A line about a training that has ended; an empty string for other tools."""
        now = time.monotonic()
        self._read(now)
        if not self._trains:
            return ''
        return f'{self._job.name}: {self._where}, done in {clock(now - self._start)}'

    def _read(self, now: float) -> None:
        """Read the new lines of the log."""
        *lines, self._rest = (self._rest + self._file.read()).split('\n')
        steps = [match for match in map(_STEP.search, lines) if match]
        if steps:
            self._parse(steps[-1])
            self._seen = now
            if self._trains:  # a test may follow the training
                self._job.fraction = 0.99 * self._share

    def _parse(self, match: re.Match) -> None:
        self._trains = match['mode'] == 'train'
        epoch, step, of = (int(match[key] or 0) for key in ('epoch', 'step', 'of'))
        if self._trains and self._job.iters:  # the log may count epochs all the same
            epoch, of = 0, self._job.iters
        self._share = step / of
        parts = [f'step {step} of {of}']
        if not self._trains:
            parts.insert(0, match['mode'])
        elif epoch:
            self._share = (epoch - 1 + self._share) / self._job.epochs
            parts.insert(0, f'epoch {epoch} of {self._job.epochs}')
        if match['loss']:
            parts.append(f'loss {match["loss"]}')
        self._where = ', '.join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours before them if there are any.

    Example:
        >>> clock(95), clock(3695)
        ('1:35', '1:01:35')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, rest = divmod(minutes, 60)
    return f'{hours}:{rest:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'
