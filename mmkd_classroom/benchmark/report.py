"""What a benchmark has to show: tables of results, mentors and costs, and a plot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')  # before pyplot: there may be no display

from matplotlib import pyplot as plt  # noqa: E402

from .ledger import Ledger  # noqa: E402
from .plan import Metric, Plan  # noqa: E402
from .runs import mentor_runs, student_run  # noqa: E402
from .statistics import paired_gain, spread  # noqa: E402


@dataclass(frozen=True)
class Results:
    """What is there of a plan.

    Attributes:
        plan: The plan.
        runs: For each method, by seed, its line of the ledger.
        mentors: For each mentor that was tested, its line.
    """

    plan: Plan
    runs: dict[str, dict[int, dict[str, Any]]]
    mentors: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, plan: Plan, ledger: Ledger) -> 'Results':
        """Take from the ledger what belongs to the plan as it is now."""
        runs: dict[str, dict[int, dict[str, Any]]] = {}
        for method in plan.methods:
            made = {seed: student_run(plan, method, seed) for seed in plan.seeds}
            found = {seed: run and ledger.find(run.made_from) for seed, run in made.items()}
            runs[method.name] = {seed: line for seed, line in found.items() if line}
        tested = {run.name: ledger.find(run.made_from) for run in mentor_runs(plan)}
        return cls(plan, runs, {name: line for name, line in tested.items() if line})

    @property
    def missing(self) -> list[str]:
        """Runs of the plan that are not there."""
        return [
            f'{name}, seed {seed}'
            for name, lines in self.runs.items()
            for seed in self.plan.seeds
            if seed not in lines
        ]

    def figures(self, name: str, metric: Metric) -> dict[int, float]:
        """A method's figures by seed."""
        return {seed: metric.of(line) for seed, line in self.runs[name].items()}


def report(results: Results) -> str:
    """Markdown: the table of results, then those of mentors and costs, and how to read them."""
    parts = [f'# {results.plan.name}', results_table(results), _explain_results(results)]
    if results.missing:
        parts.append(f'**Not there:** {"; ".join(results.missing)}.')
    if results.mentors:
        parts += ['## Mentors', mentors_table(results)]
    return '\n\n'.join([*parts, '## Cost', cost_table(results), _explain_costs(results)]) + '\n'


def results_table(results: Results) -> str:
    """Mean, standard deviation and gain of each method; the same for the same runs."""
    plan = results.plan
    rows = [['method', 'runs', *(cell for m in plan.metrics for cell in (m.title, 'gain'))]]
    for name, lines in results.runs.items():
        row = [name, str(len(lines))]
        for metric in plan.metrics:
            values = results.figures(name, metric)
            base = results.figures(plan.reference, metric) if name != plan.reference else {}
            row += [_spread_cell(list(values.values())), _gain_cell(values, base)]
        rows.append(row)
    return markdown(rows)


def mentors_table(results: Results) -> str:
    """Each mentor's own figures, as far as its config's test gives them."""
    metrics = results.plan.metrics
    rows = [['mentor', *(metric.title for metric in metrics)]]
    for name, line in results.mentors.items():
        rows.append([name, *(f'{m.of(line):.2f}' if m.given_by(line) else '' for m in metrics)])
    return markdown(rows)


def cost_table(results: Results) -> str:
    """Training time, also relative to the reference, and peak memory."""
    reference = results.plan.reference
    rows = [['method', 'training time', f'relative to {reference}', 'peak memory']]
    for name, lines in results.runs.items():
        base = results.runs[reference]
        common = sorted(lines.keys() & base.keys())
        ratio = [lines[seed]['seconds'] / base[seed]['seconds'] for seed in common]
        rows.append(
            [
                name,
                _mean_cell(lines, 'seconds', lambda seconds: f'{seconds / 60:.1f} min'),
                f'{spread(ratio).mean:.2f}' if ratio else '',
                _mean_cell(lines, 'memory', lambda memory: f'{memory:.0f} MiB'),
            ]
        )
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = [f'| {" | ".join(row)} |' for row in rows]
    return '\n'.join([lines[0], '|---' * len(rows[0]) + '|', *lines[1:]])


def plot(results: Results, path: Path) -> None:
    """Draw the first metric: a dot for each run, a bar from mean - to mean + deviation.

    Args:
        results: What to draw.
        path: Image file to write, of a kind that matplotlib knows.
    """
    metric = results.plan.metrics[0]
    names = [name for name, lines in results.runs.items() if lines]
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.4 * len(names)), layout='constrained')
    for row, name in enumerate(names):
        values = list(results.figures(name, metric).values())
        mean, deviation = spread(values)
        axis.errorbar(mean, row, xerr=deviation, fmt='D', color='black', capsize=4, zorder=3)
        axis.plot(values, [row] * len(values), 'o', color='#21a7ff', alpha=0.8)
    if results.plan.reference in names:
        base = spread(list(results.figures(results.plan.reference, metric).values())).mean
        axis.axvline(base, color='gray', linestyle='--', zorder=0)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(max(len(names), 1) - 0.5, -0.5)  # the first method at the top
    axis.set_xlabel(f'{metric.title} (dots: runs; diamond and bar: mean ± standard deviation)')
    axis.grid(axis='x', alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _spread_cell(values: list[float]) -> str:
    if not values:
        return ''
    mean, deviation = spread(values)
    return f'{mean:.2f}' if deviation is None else f'{mean:.2f} ± {deviation:.2f}'


def _gain_cell(values: dict[int, float], base: dict[int, float]) -> str:
    gain = paired_gain(values, base)
    if gain is None:
        return ''
    if gain.margin is None:
        return f'{gain.mean:+.2f}'
    low, high = gain.mean - gain.margin, gain.mean + gain.margin
    return f'{gain.mean:+.2f} [{low:+.2f}, {high:+.2f}]'


def _mean_cell(lines: dict[int, dict], key: str, write: Callable[[float], str]) -> str:
    return write(spread([line[key] for line in lines.values()]).mean) if lines else ''


def _explain_results(results: Results) -> str:
    seeds = ', '.join(map(str, results.plan.seeds))
    return (
        f'Mean ± sample standard deviation over the seeds {seeds}; the last checkpoint counts. '
        f'*Gain*: mean of the differences from **{results.plan.reference}** with the same seed, '
        'and its 95 % paired t interval.'
    ) + _warn_of_code(results)


def _warn_of_code(results: Results) -> str:
    versions = {line['code'] for by_seed in results.runs.values() for line in by_seed.values()}
    if len(versions) < 2:
        return ''
    return (
        f' **The code has changed between these runs ({len(versions)} versions)**: if that '
        'matters to them, run all in another `--work-dir`.'
    )


def _explain_costs(results: Results) -> str:
    lines = [line for by_seed in results.runs.values() for line in by_seed.values()]
    text = (
        'Training time is that of the training steps, with the loading they wait for and without '
        'start-up and tests; peak memory is that of tensors on the GPU, or, without one, of the '
        'training process. Means over the seeds.'
    )
    ways = sorted({_way(line) for line in lines})
    if ways:
        text += f' Runs were made on {" and on ".join(ways)}.'
    if len(ways) > 1 or any(line['at_once'] > 1 for line in lines):
        text += ' Runs that share a machine slow each other down: compare times with care.'
    return text


def _way(line: dict[str, Any]) -> str:
    threads = line['threads'] or 'all'
    plural = '' if threads == 1 else 's'
    return (
        f'{line["device"]}, torch {line["torch"]}; {line["at_once"]} at a time, {threads} '
        f'thread{plural} each'
    )
