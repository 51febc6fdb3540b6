"""Does what a plan asks for and is not done yet: mentors first, then each method and seed."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from .jobs import Job, ToolError, Workshop, clock
from .ledger import Ledger
from .plan import Method, Plan, mentor_name
from .runs import Run, is_there, mentor_runs, student_run


class Bench:
    """Runs a plan.

    Args:
        plan: What to do.
        ledger: Takes the results.
        workshop: Runs the tools.
        say: Prints a line.

    Attributes:
        failures: What went wrong, by the run's title, with its log.
    """

    def __init__(
        self, plan: Plan, ledger: Ledger, workshop: Workshop, say: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.workshop = workshop
        self.say = say
        self.failures: dict[str, str] = {}
        self._estimate = Estimate()
        self._code = code_digest()  # as it is when the trainings' modules are imported

    def run(self) -> None:
        """Do all that has no result yet; what fails is noted and does not stop the rest.

        Raises:
            ClassroomError: Nothing can come of the plan as it is.
        """
        # Students alone need no mentors, so they keep the machine busy until these are trained.
        mentors = [run for run in mentor_runs(self.plan) if not self._is_done(run)]
        alone = self._todo(method for method in self.plan.methods if method.alone)
        taught = self._todo(method for method in self.plan.methods if not method.alone)
        self._estimate.expect(sum(run.is_training for run in mentors) + len(alone) + len(taught))
        self._run_all([*mentors, *(student_run(self.plan, *pair) for pair in alone)])
        self._run_all([self._taught_run(*pair) for pair in taught])

    def _todo(self, methods: Iterable[Method]) -> list[tuple[Method, int]]:
        """What has no result: all methods of a seed, then those of the next."""
        methods = list(methods)
        pairs = [(method, seed) for seed in self.plan.seeds for method in methods]
        return [pair for pair in pairs if not self._is_done(student_run(self.plan, *pair))]

    def _is_done(self, run: Run | None) -> bool:
        return run is not None and bool(self.ledger.find(run.made_from))

    def _taught_run(self, method: Method, seed: int) -> Run | None:
        run = student_run(self.plan, method, seed)
        if run is None:
            missing = [m for m in self.plan.mentors(method) if not is_there(m)]
            names = ', '.join(mentor_name(mentor) for mentor in missing)
            self.failures[f'{method.name}, seed {seed}'] = f'not run: lacks mentor {names}'
        return run

    def _run_all(self, runs: Iterable[Run | None]) -> None:
        runs = list(runs)
        # Two methods may be one and the same run, under two names.
        once = {run.made_from or run.title: run for run in runs if run is not None}
        todo = [run for run in once.values() if not self._is_done(run)]
        jobs = [run.job(partial(self._keep, run), self._fail) for run in todo]
        trainings = [job for run, job in zip(todo, jobs) if run.is_training]
        expected = sum(run is None or run.is_training for run in runs)
        self._estimate.start(trainings, expected)
        self.workshop.run(jobs)

    def _keep(self, run: Run, result: dict[str, Any]) -> None:
        self.ledger.add({**result, **self._circumstances()})
        shown = [m for m in self.plan.metrics if not run.is_mentor or m.given_by(result)]
        figures = [f'{metric.title} {metric.of(result):.2f}' for metric in shown]
        self.say(f'{run.title}: {", ".join(figures) or "tested"}; {self._estimate}')

    def _circumstances(self) -> dict[str, Any]:
        return dict(
            at_once=len(self.workshop.places),
            threads=int(os.environ.get('OMP_NUM_THREADS', 0)) or None,
            torch=torch.__version__,
            code=self._code,
            finished=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        )

    def _fail(self, run: Run, error: ToolError) -> None:
        kept = self._keep_apart(run.folder)
        if run.given is not None:  # its own test data may not be here; it can teach all the same
            self.say(f'{run.title} could not be tested, see {kept}; {self._estimate}')
            return
        self.failures[run.title] = str(error).replace(str(run.folder), str(kept))
        self.say(f'{run.title}: FAILED, see {kept}; {self._estimate}')

    def _keep_apart(self, folder: Path) -> Path:
        """Move what a failed run left, beside what earlier failures left."""
        parent = self.plan.folder / 'failed'
        parent.mkdir(exist_ok=True)
        names = (parent / f'{folder.name}-{number}' for number in count(1))
        target = next(name for name in names if not name.exists())
        return folder.rename(target)


def code_digest() -> str:
    """Short digest of the package's code that a training runs."""
    package = Path(__file__).parents[1]
    total = hashlib.sha256()
    for path in sorted(package.rglob('*.py')):
        if path.relative_to(package).parts[0] not in ('benchmark', 'demo'):
            total.update(path.read_bytes())
    return total.hexdigest()[:10]


class Estimate:
    """How many trainings are done, and how long the rest may take at the pace so far."""

    def __init__(self) -> None:
        self._total = 0
        self._jobs: list[Job] = []
        self._start = time.monotonic()

    def expect(self, total: int) -> None:
        """Set the number of trainings, and the clock to zero."""
        self._total, self._start = total, time.monotonic()

    def start(self, jobs: Sequence[Job], expected: int) -> None:
        """Count these from now on, in place of as many as were expected."""
        self._jobs += jobs
        self._total += len(jobs) - expected

    def __str__(self) -> str:
        over = sum(job.fraction >= 1 for job in self._jobs)
        done = sum(job.fraction for job in self._jobs)
        left = (time.monotonic() - self._start) * (self._total / done - 1) if done else 0
        return f'{over} of {self._total} runs, about {clock(max(left, 0))} left'
