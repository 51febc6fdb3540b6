"""Build the parts of a classroom beside its student, and check that they fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .cache import MentorCache
from .divergences import Divergence
from .errors import ClassroomError
from .features import stage_channels
from .heads import HeadAdapter, build_adapter
from .mentors import MentorBank, distinct_names, read_entries
from .options import build_part, check_options, without_marks
from .rankers import Ranker
from .registry import MODELS, TASK_UTILS
from .strategies import DEFAULT_STRATEGY, Members, Strategy


def build_parts(
    student: nn.Module,
    mentors: Sequence[dict[str, Any] | str] | None,
    strategy: dict | None,
    ranker: dict | None,
    divergence: dict | None,
    adapter: dict | None,
    cache: dict | None,
) -> dict[str, Any]:
    """Build the parts of a classroom except the student: the arguments of `Classroom._take`."""
    adapter, strategy, ranker, divergence = build_method(
        student, strategy, ranker, divergence, adapter
    )
    entries = read_entries(mentors, adapter.mentor_options)
    names = distinct_names(entries)
    ours, theirs = strategy.stages(names)
    cache = build_cache(cache, strategy, theirs)
    channels = stage_channels(student, ours, 'model.student')
    bank, mentor_channels = MentorBank.build(
        entries, names, theirs, student, adapter, on_demand=cache is not None
    )
    # The random state is restored, so the student trains the same with any strategy.
    with torch.random.fork_rng(devices=[]):
        strategy.build(Members(adapter, names, channels, mentor_channels))
    return dict(
        mentors=bank,
        adapter=adapter,
        ranker=ranker,
        divergence=divergence,
        strategy=strategy,
        cache=cache,
        stages=ours,
    )


def build_method(
    student: nn.Module,
    strategy: dict | None,
    ranker: dict | None,
    divergence: dict | None,
    adapter: dict | None,
) -> tuple[HeadAdapter, Strategy, Ranker | None, Divergence]:
    """Build the parts that need no mentors: the student's adapter, and what scores and teaches.

    Args:
        student: Stock model.
        strategy: ``model.strategy``.
        ranker: ``model.ranker``.
        divergence: ``model.divergence``.
        adapter: ``model.adapter``.

    Returns:
        The adapter, the strategy, the ranker (see :func:`build_ranker`) and the divergence.

    Raises:
        ClassroomError: One of them cannot be built, or does not fit the others.
    """
    adapter = build_adapter(student, adapter)
    strategy = build_part(strategy, MODELS, 'model.strategy', DEFAULT_STRATEGY, kind=Strategy)
    adapter.check_student(student, strategy.needs_per_sample_loss)
    ranker = build_ranker(ranker, adapter)
    divergence = build_part(
        divergence, TASK_UTILS, 'model.divergence', adapter.divergence, kind=Divergence
    )
    if isinstance(divergence, nn.Module):
        raise ClassroomError(
            f'model.divergence is {type(divergence).__name__}, a module: what learns belongs to a '
            'strategy, or a checkpoint would not be a student.'
        )
    divergence.check(adapter)
    strategy.check(adapter, divergence)
    return adapter, strategy, ranker, divergence


def build_ranker(cfg: dict | None, adapter: HeadAdapter) -> Ranker | None:
    """Build the ranker of a config.

    Args:
        cfg: ``model.ranker``.
        adapter: Adapter of the student.

    Returns:
        The ranker. None without a config: :meth:`Classroom.prepare` then chooses it by the data.

    Raises:
        ClassroomError: It cannot be built, or ranks another kind of items.
    """
    if cfg is None:
        return None
    ranker = build_part(cfg, TASK_UTILS, 'model.ranker', kind=Ranker)
    if ranker.kind != adapter.kind:
        raise ClassroomError(
            f'model.ranker is a {type(ranker).__name__}, which ranks {ranker.kind}, but the '
            f'student predicts {adapter.kind}: choose a ranker of {adapter.kind}, or leave it out.'
        )
    return ranker


def build_cache(
    cfg: dict | None, strategy: Strategy, stages: Sequence[Sequence[str]]
) -> MentorCache | None:
    """The cache of a config, not opened yet.

    Args:
        cfg: ``model.cache``.
        strategy: The strategy.
        stages: Stages of each mentor that it reads.

    Raises:
        ClassroomError: An option is wrong, or the strategy reads the mentors' features.
    """
    if cfg is None:
        return None
    if not isinstance(cfg, Mapping):
        raise ClassroomError(f'model.cache is {cfg!r}: write dict() for its defaults.')
    if any(stages):
        raise ClassroomError(
            f'model.cache keeps what mentors return, but model.strategy = {type(strategy).__name__}'
            f' reads their features ({", ".join(dict.fromkeys(sum(map(list, stages), [])))}): '
            'leave the cache or the features out.'
        )
    options = without_marks(cfg)
    check_options(MentorCache, options, 'model.cache')
    return MentorCache(**options)
