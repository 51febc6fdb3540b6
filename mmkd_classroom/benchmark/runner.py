"""Does the runs of a plan that have no result yet: mentors first, then each method and seed."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from ..mentors.entry import mentor_name
from .jobs import Job, JobRunner, ToolError, clock
from .plan import Method, Plan
from .runs import Run, is_available, mentor_runs, student_run
from .store import ResultStore


class BenchmarkRunner:
    """Runs a plan.

    Args:
        plan: The plan.
        store: Stores the results.
        jobs: Runs the tools.
        log: Prints a line.

    Attributes:
        failures: Error messages by the title of the run.
    """

    def __init__(
        self, plan: Plan, store: ResultStore, jobs: JobRunner, log: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.store = store
        self.jobs = jobs
        self.log = log
        self.failures: dict[str, str] = {}
        self._time_left = TimeLeft()
        self._code = code_digest()  # now, when the modules of the trainings are imported

    def run(self) -> None:
        """Do all runs without a result. A failure is recorded and does not stop other runs.

        Raises:
            ClassroomError: The plan cannot give results.
        """
        mentors = [run for run in mentor_runs(self.plan) if not self._is_done(run)]
        alone = self._open(method for method in self.plan.methods if method.alone)
        taught = self._open(method for method in self.plan.methods if not method.alone)
        self._time_left.expect(sum(run.is_training for run in mentors) + len(alone) + len(taught))
        # Students alone need no mentors. They run while the mentors are trained.
        self._run_all([*mentors, *(student_run(self.plan, *pair) for pair in alone)])
        self._run_all([self._taught_run(*pair) for pair in taught])

    def _open(self, methods: Iterable[Method]) -> list[tuple[Method, int]]:
        """Methods and seeds without a result: all methods of a seed, then those of the next."""
        methods = list(methods)
        pairs = [(method, seed) for seed in self.plan.seeds for method in methods]
        return [pair for pair in pairs if not self._is_done(student_run(self.plan, *pair))]

    def _is_done(self, run: Run | None) -> bool:
        return run is not None and self.store.find(run.run_id) is not None

    def _taught_run(self, method: Method, seed: int) -> Run | None:
        run = student_run(self.plan, method, seed)
        if run is None:
            missing = [m for m in self.plan.mentors(method) if not is_available(m)]
            names = ', '.join(mentor_name(mentor) for mentor in missing)
            self.failures[f'{method.name}, seed {seed}'] = f'not run: no mentor {names}'
        return run

    def _run_all(self, runs: Sequence[Run | None]) -> None:
        # Two methods may be the same run under two names.
        unique = {run.run_id or run.title: run for run in runs if run is not None}
        runs_to_do = [run for run in unique.values() if not self._is_done(run)]
        jobs = [run.job(partial(self._done, run), partial(self._failed, run)) for run in runs_to_do]
        trainings = [job for run, job in zip(runs_to_do, jobs) if run.is_training]
        self._time_left.start(trainings, sum(run is None or run.is_training for run in runs))
        self.jobs.run(jobs)

    def _done(self, run: Run, result: dict[str, Any]) -> None:
        self.store.add({**result, **self._circumstances()})
        metrics = [m for m in self.plan.metrics if not run.is_mentor or m.is_in(result)]
        values = [f'{metric.title} {metric.value(result):.2f}' for metric in metrics]
        self.log(f'{run.title}: {", ".join(values) or "tested"}; {self._time_left}')

    def _circumstances(self) -> dict[str, Any]:
        return dict(
            at_once=len(self.jobs.slots),
            threads=int(os.environ.get('OMP_NUM_THREADS', 0)) or None,
            torch=torch.__version__,
            code=self._code,
            finished=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        )

    def _failed(self, run: Run, error: ToolError) -> None:
        kept = self._move_to_failed(run.folder)
        if not run.is_training:  # the mentor's own test data may not be here; it can still teach
            self.log(f'{run.title} could not be tested, see {kept}; {self._time_left}')
            return
        self.failures[run.title] = str(error).replace(str(run.folder), str(kept))
        self.log(f'{run.title}: FAILED, see {kept}; {self._time_left}')

    def _move_to_failed(self, folder: Path) -> Path:
        parent = self.plan.folder / 'failed'
        parent.mkdir(exist_ok=True)
        names = (parent / f'{folder.name}-{number}' for number in count(1))
        return folder.rename(next(name for name in names if not name.exists()))


def code_digest() -> str:
    """Short digest of the package's code that a training runs."""
    package = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        if path.relative_to(package).parts[0] not in ('benchmark', '.mim'):
            total.update(path.read_bytes())
    return total.hexdigest()[:10]


class TimeLeft:
    """Number of trainings done, and an estimate of the time that the others take."""

    def __init__(self) -> None:
        self._total = 0
        self._jobs: list[Job] = []
        self._start = time.monotonic()

    def expect(self, total: int) -> None:
        """Set the number of trainings and start the clock."""
        self._total, self._start = total, time.monotonic()

    def start(self, jobs: Sequence[Job], expected: int) -> None:
        """Follow these jobs. They replace ``expected`` of the trainings."""
        self._jobs += jobs
        self._total += len(jobs) - expected

    def __str__(self) -> str:
        over = sum(job.fraction >= 1 for job in self._jobs)
        done = sum(job.fraction for job in self._jobs)
        left = (time.monotonic() - self._start) * (self._total / done - 1) if done else 0
        return f'{over} of {self._total} runs, about {clock(max(left, 0))} left'
