"""A ranking of methods over several plans."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from ..errors import ClassroomError
from ..tables import markdown_table
from .report import Results

_RESAMPLES = 10_000


def ranking(results: Sequence[Results]) -> str:
    """Markdown: mean ranks of the methods that all plans have, the best first.

    In each plan the methods are ranked for each seed by the plan's first metric, 1 for the best;
    equal results share the mean of their ranks. The mean over the seeds of a plan, then over the
    plans, is a method's mean rank. Its 95 % interval is that of a bootstrap of the seeds within
    each plan, so it holds for these data and mentors. Seeds without a result of each method are
    left out.

    Args:
        results: Results of two or more plans.

    Returns:
        A table and how to read it.

    Raises:
        ClassroomError: The plans have fewer than two methods in common, or one of them has no
            complete seed.
    """
    methods = [
        name for name in results[0].runs if all(name in others.runs for others in results[1:])
    ]
    if len(methods) < 2:
        raise ClassroomError('The plans have fewer than two methods in common: nothing to rank.')
    ranks = [_ranks(each, methods) for each in results]
    per_plan = np.stack([each.mean(axis=0) for each in ranks])  # (plans, methods)
    low, high = np.percentile(_resampled(ranks), [2.5, 97.5], axis=0)
    rows = [
        [
            methods[index],
            f'{per_plan[:, index].mean():.2f}',
            f'[{low[index]:.2f}, {high[index]:.2f}]',
            *(f'{rank:.1f}' for rank in per_plan[:, index]),
        ]
        for index in np.argsort(per_plan.mean(axis=0), kind='stable')
    ]
    head = ['method', 'mean rank', '95 % interval', *(each.plan.name for each in results)]
    seeds = ', '.join(f'{len(each)} in {r.plan.name}' for each, r in zip(ranks, results))
    return (
        f'{markdown_table(head, rows)}\n\n1 is the best of {len(methods)} methods. Complete seeds: '
        f'{seeds}. The interval is that of a bootstrap of the seeds, for these data and mentors.\n'
    )


def _ranks(results: Results, methods: Sequence[str]) -> np.ndarray:
    """Rank of each method for each complete seed, ``(seeds, methods)``."""
    metric = results.plan.metrics[0]
    values = [results.values(name, metric) for name in methods]
    seeds = [seed for seed in results.plan.seeds if all(seed in each for each in values)]
    if not seeds:
        raise ClassroomError(
            f'{results.plan.name} has no seed with a result of each method: run it first.'
        )
    table = np.array([[each[seed] for each in values] for seed in seeds])
    error = table if metric.rule == 'less' else -table
    # A run that diverged is the last.
    return rankdata(np.nan_to_num(error, nan=np.inf), axis=1)


def _resampled(ranks: Sequence[np.ndarray]) -> np.ndarray:
    """Mean ranks with the seeds of each plan drawn again, ``(resamples, methods)``."""
    rng = np.random.default_rng(0)
    means = [
        each[rng.integers(len(each), size=(_RESAMPLES, len(each)))].mean(axis=1) for each in ranks
    ]
    return np.mean(means, axis=0)
