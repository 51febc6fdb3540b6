"""The report of a benchmark: tables of results, mentors and costs, a plot, and each run."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import ttest_rel

from ..errors import ClassroomError, shown
from ..json_files import is_number
from ..tables import markdown_table
from .plan import Metric, Plan
from .runs import mentor_runs, student_run
from .store import ResultStore

matplotlib.use('Agg')  # before pyplot: there may be no display

from matplotlib import pyplot as plt  # noqa: E402

# What a line of results.jsonl must have, and of a training.
_OF_A_TEST = {'name': str, 'metrics': dict}
_OF_A_TRAINING = {
    **_OF_A_TEST, 'seconds': float, 'memory': float, 'at_once': float, 'code': str, 'device': str,
    'torch': str,
}  # fmt: skip


@dataclass(frozen=True)
class Results:
    """The results of a plan so far.

    Attributes:
        plan: The plan.
        runs: Results by method and seed.
        mentors: Results by mentor, of those that were tested.
    """

    plan: Plan
    runs: dict[str, dict[int, dict[str, Any]]]
    mentors: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, plan: Plan, store: ResultStore) -> 'Results':
        """Find the results that belong to the plan as it is now.

        Raises:
            ClassroomError: One of them lacks what the report needs.
        """
        runs: dict[str, dict[int, dict[str, Any]]] = {}
        for method in plan.methods:
            made = {seed: student_run(plan, method, seed) for seed in plan.seeds}
            found = {seed: run and store.find(run.run_id) for seed, run in made.items()}
            _check(found.values(), _OF_A_TRAINING, store)
            runs[method.name] = {seed: result for seed, result in found.items() if result}
        tested = {run.name: store.find(run.run_id) for run in mentor_runs(plan)}
        _check(tested.values(), _OF_A_TEST, store)
        return cls(plan, runs, {name: result for name, result in tested.items() if result})

    @property
    def missing(self) -> list[str]:
        """Titles of the plan's runs that have no result."""
        return [
            f'{name}, seed {seed}'
            for name, by_seed in self.runs.items()
            for seed in self.plan.seeds
            if seed not in by_seed
        ]

    def values(self, method: str, metric: Metric) -> dict[int, float]:
        """Values of a metric by seed."""
        return {seed: metric.value(result) for seed, result in self.runs[method].items()}

    def all(self) -> list[dict[str, Any]]:
        """The results of all methods and seeds."""
        return [result for by_seed in self.runs.values() for result in by_seed.values()]


def _check(
    results: Iterable[dict[str, Any] | None], kinds: Mapping[str, type], store: ResultStore
) -> None:
    for result in filter(None, results):
        for key, kind in kinds.items():
            value = result.get(key)
            if not (is_number(value) and value > 0 if kind is float else isinstance(value, kind)):
                raise ClassroomError(
                    f'{store.path}: the result with the run_id {result["run_id"]!r} has '
                    f'{key} = {shown(value)}. Remove its line; its run is done again.'
                )


def report(results: Results) -> str:
    """Markdown: tables of results, mentors and costs, and how to read them."""
    parts = [f'# {results.plan.name}', results_table(results), _explain_results(results)]
    if results.missing:
        parts.append(f'**Not there:** {"; ".join(results.missing)}.')
    if results.mentors:
        parts += ['## Mentors', mentors_table(results)]
    return '\n\n'.join([*parts, '## Cost', cost_table(results), _explain_costs(results)]) + '\n'


def results_table(results: Results) -> str:
    """Mean, standard deviation and gain of each method."""
    plan = results.plan
    head = ['method', 'runs', *(cell for m in plan.metrics for cell in (m.title, 'gain'))]
    rows = []
    for name, by_seed in results.runs.items():
        row = [name, str(len(by_seed))]
        for metric in plan.metrics:
            values = results.values(name, metric)
            base = results.values(plan.reference, metric) if name != plan.reference else {}
            row += [format_spread(list(values.values())), format_gain(values, base)]
        rows.append(row)
    return markdown_table(head, rows)


def mentors_table(results: Results) -> str:
    """Metrics of each mentor, as far as the test of its config gives them."""
    metrics = results.plan.metrics
    rows = [
        [name, *(f'{m.value(result):.2f}' if m.is_in(result) else '' for m in metrics)]
        for name, result in results.mentors.items()
    ]
    return markdown_table(['mentor', *(metric.title for metric in metrics)], rows)


def cost_table(results: Results) -> str:
    """Training time, also relative to the reference, and peak memory."""
    reference = results.plan.reference
    base = results.runs[reference]
    rows = []
    for name, by_seed in results.runs.items():
        ratios = [by_seed[s]['seconds'] / base[s]['seconds'] for s in by_seed if s in base]
        minutes = [result['seconds'] / 60 for result in by_seed.values()]
        memory = [result['memory'] for result in by_seed.values()]
        rows.append(
            [
                name,
                f'{np.mean(minutes):.1f} min' if minutes else '',
                f'{np.mean(ratios):.2f}' if ratios else '',
                f'{np.mean(memory):.0f} MiB' if memory else '',
            ]
        )
    head = ['method', 'training time', f'relative to {reference}', 'peak memory']
    return markdown_table(head, rows)


def format_spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation.

    Example:
        >>> format_spread([1.0, 2.0, 3.0]), format_spread([1.0]), format_spread([])
        ('2.00 ± 1.00', '1.00', '')
    """
    if len(values) < 2:
        return ''.join(f'{value:.2f}' for value in values)
    with np.errstate(invalid='ignore'):  # a diverged run
        return f'{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}'


def format_gain(values: Mapping[int, float], base: Mapping[int, float]) -> str:
    r"""Mean difference over the common seeds, and its 95 % paired t interval.

    .. math::
        \bar d \pm t_{0.975,\,n-1}\, s_d / \sqrt n

    Runs with the same seed see the data in the same order with the same augmentation, so their
    differences vary less than the runs. The interval assumes normal differences. With three seeds
    :math:`t = 4.30`, so it is wide.

    Args:
        values: Values by seed.
        base: Values by seed to compare with.

    Example:
        >>> format_gain({0: 3.0, 1: 5.0, 7: 9.0}, {0: 1.0, 1: 1.0})
        '+3.00 [-9.71, +15.71]'
        >>> format_gain({0: 3.0}, {0: 1.0}), format_gain({0: 3.0}, {1: 1.0})
        ('+2.00', '')
    """
    seeds = sorted(values.keys() & base.keys())
    if not seeds:
        return ''
    pairs = [values[seed] for seed in seeds], [base[seed] for seed in seeds]
    gain = f'{np.subtract(*pairs).mean():+.2f}'
    if len(seeds) == 1:
        return gain
    low, high = ttest_rel(*pairs).confidence_interval()
    return f'{gain} [{low:+.2f}, {high:+.2f}]'


def save_runs(results: Results, path: Path) -> None:
    """Write the metrics of each run as CSV, for one's own analysis.

    Args:
        results: What to write.
        path: File to write. Its columns are the method, the seed and each metric of the plan.
    """
    metrics = results.plan.metrics
    with path.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['method', 'seed', *(metric.title for metric in metrics)])
        for name, by_seed in results.runs.items():
            for seed, result in by_seed.items():
                writer.writerow([name, seed, *(f'{m.value(result):.6g}' for m in metrics)])


def plot(results: Results, path: Path) -> None:
    """Plot the first metric: a dot per run, and a bar for mean ± standard deviation.

    Args:
        results: What to draw.
        path: Image file to write, in any format that matplotlib knows.
    """
    metric = results.plan.metrics[0]
    names = [name for name, by_seed in results.runs.items() if by_seed]
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.4 * len(names)), layout='constrained')
    for row, name in enumerate(names):
        values = list(results.values(name, metric).values())
        deviation = np.std(values, ddof=1) if len(values) > 1 else None
        axis.errorbar(
            np.mean(values), row, xerr=deviation, fmt='D', color='black', capsize=4, zorder=3
        )
        axis.plot(values, [row] * len(values), 'o', color='#21a7ff', alpha=0.8)
    if results.plan.reference in names:
        base = np.mean(list(results.values(results.plan.reference, metric).values()))
        axis.axvline(base, color='gray', linestyle='--', zorder=0)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(max(len(names), 1) - 0.5, -0.5)  # the first method at the top
    axis.set_xlabel(f'{metric.title} (dots: runs; diamond and bar: mean ± standard deviation)')
    axis.grid(axis='x', alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _explain_results(results: Results) -> str:
    seeds = ', '.join(map(str, results.plan.seeds))
    text = (
        f'Mean ± sample standard deviation over the seeds {seeds}; the last checkpoint counts. '
        f'*Gain*: mean of the differences from **{results.plan.reference}** with the same seed, '
        'and its 95 % paired t interval.'
    )
    versions = {result['code'] for result in results.all()}
    if len(versions) > 1:
        text += (
            f' **The code has changed between these runs ({len(versions)} versions)**: if that '
            'matters to them, run all in another `--work-dir`.'
        )
    return text


def _explain_costs(results: Results) -> str:
    text = (
        'Training time is that of the training steps, with the loading they wait for and without '
        'start-up and tests; peak memory is that of tensors on the GPU, or, without one, of the '
        'training process. Means over the seeds.'
    )
    machines = sorted({_machine(result) for result in results.all()})
    if machines:
        text += f' Runs were made on {" and on ".join(machines)}.'
    if len(machines) > 1 or any(result['at_once'] > 1 for result in results.all()):
        text += ' Runs that share a machine slow each other down: compare times with care.'
    return text


def _machine(result: dict[str, Any]) -> str:
    threads = result.get('threads') or 'all'
    plural = '' if threads == 1 else 's'
    return (
        f'{result["device"]}, torch {result["torch"]}; {result["at_once"]} at a time, {threads} '
        f'thread{plural} each'
    )
