"""A plan: which methods are compared in which classroom, with which seeds."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from ..distiller import student_config
from ..errors import ClassroomError, shown
from ..hub import config_file, load_config, model_config, student_model
from ..json_files import is_number
from ..mentors.entry import as_entry, locate_mentors, mentor_name
from ..options import build_part, check_options, type_name
from ..parts import build_cache, build_method
from ..registry import MODELS
from ..strategies import DEFAULT_STRATEGY


@dataclass(frozen=True)
class Metric:
    """A metric of the test.

    Attributes:
        key: Its name in the output of ``tools/test.py``.
        name: Its name in tables; by default the key.
        scale: A factor, such as 100 for percent.
        rule: ``'greater'`` if greater is better, or ``'less'``, as for an error.
    """

    key: str
    name: str | None = None
    scale: float = 1.0
    rule: str = 'greater'

    @property
    def title(self) -> str:
        """Its name in tables."""
        return self.name or self.key

    def is_in(self, result: Mapping[str, Any]) -> bool:
        """Whether a result has it. The config of a mentor may report other metrics."""
        return self.key in result['metrics']

    def value(self, result: Mapping[str, Any]) -> float:
        """Its scaled value in a result.

        Raises:
            ClassroomError: The result does not have it, or it is no number.
        """
        if not self.is_in(result):
            raise ClassroomError(
                f'A metric of the plan has the key {self.key!r}, but the test of {result["name"]} '
                f'gave {sorted(result["metrics"])}: choose from these. What has run is kept.'
            )
        value = result['metrics'][self.key]
        if not is_number(value):
            raise ClassroomError(
                f'A metric of the plan has the key {self.key!r}, which is {shown(value)} in the '
                f'result of {result["name"]}, not a number: choose another.'
            )
        return self.scale * value


@dataclass(frozen=True)
class Method:
    """Changes of one method to the classroom.

    Attributes:
        name: A unique name, for tables.
        alone: Train the student without mentors.
        mentors: Names of the mentors that teach; by default all.
        strategy: With a ``type``, it replaces the classroom's strategy. Without one, its options
            are changed in the classroom's strategy.
        options: Other changes, as in ``--cfg-options``: ``{'optim_wrapper.lr': 0.1}``.
    """

    name: str
    alone: bool = False
    mentors: Sequence[str] | None = None
    strategy: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that a benchmark does.

    Attributes:
        classroom: Path or ``'package::path'`` of the classroom's config, which has the data, the
            student, the mentors and the schedule.
        methods: The methods to compare.
        seeds: Each method is trained with each seed.
        metrics: The metrics to report. The first one is plotted.
        name: Name of the plan file, without its ending.
        mentor_seed: Seed of the mentors that are not trained yet; None for the seeds of their own
            configs. It must not be one of ``seeds``: a mentor with the student's config would be
            the student alone.
        options: Changes to the config of every method.
        mentor_options: Changes to the configs of mentors that are not trained yet. Every classroom
            uses their checkpoints, so do not make them weaker.
        baseline: Name of the method that gains and costs are relative to; by default the one that
            is ``alone``.
        work_dir: Folder for runs and results; by default ``work_dirs/benchmarks/`` and the plan's
            name. Plans with the same folder share their common runs.
        dump: Whether the tests save their predictions.
        cache: Options of ``model.cache`` for all methods whose strategy reads no features of the
            mentors, so that the mentors run once for the whole plan. By default it lies in
            ``work_dir``. The other methods, and the student alone, train without one.
    """

    classroom: str
    methods: Sequence[Method]
    seeds: Sequence[int]
    metrics: Sequence[Metric]
    name: str
    mentor_seed: int | None = 100
    options: Mapping[str, Any] = field(default_factory=dict)
    mentor_options: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    work_dir: str | None = None
    dump: bool = False
    cache: Mapping[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """Folder for runs and results."""
        return Path(self.work_dir or f'work_dirs/benchmarks/{self.name}').absolute()

    @property
    def reference(self) -> str:
        """Name of the method that the others are compared with."""
        return self.baseline or next(method.name for method in self.methods if method.alone)

    @cached_property
    def classroom_config(self) -> Config:
        """The classroom's config, with all entries of ``model.mentors`` as dicts."""
        path = config_file(self.classroom, 'classroom =')
        cfg = load_config(lambda: Config.fromfile(path), f'classroom = {self.classroom!r}')
        mentors = cfg.get('model', {}).get('mentors') or []
        if mentors:
            cfg.model.mentors = [
                as_entry(entry, f'model.mentors[{index}]') for index, entry in enumerate(mentors)
            ]
            locate_mentors(cfg)
        return cfg

    @cached_property
    def student(self) -> nn.Module:
        """The student, for checks."""
        cfg = student_config(self.classroom_config)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            # A copy, for MMPretrain writes defaults into it.
            return MMENGINE_MODELS.build(model_config(cfg))

    def config(self, method: Method, seed: int) -> Config:
        """Config for ``tools/train.py`` for a method and a seed."""
        cfg = copy.deepcopy(self.classroom_config)
        if method.alone:
            remove_mentors(cfg)
        else:
            cfg.model.mentors = [
                mentor
                for mentor in cfg.model.mentors
                if method.mentors is None or mentor_name(mentor) in method.mentors
            ]
            cfg.model.strategy = _merge_strategy(cfg.model.get('strategy') or {}, method.strategy)
            if self.cache is not None and not _reads_features(cfg.model):
                cfg.model.cache = {'dir': str(self.folder / 'cache'), **self.cache}
        return prepare_config(cfg, {**self.options, **method.options}, seed)

    def mentors(self, method: Method) -> list[dict[str, Any]]:
        """Entries of the mentors that teach in a method."""
        return self.config(method, self.seeds[0]).model.get('mentors', [])


def prepare_config(cfg: Config, options: Mapping[str, Any], seed: int | None) -> Config:
    """Add options, a seed (None keeps the config's) and the hook that measures the cost."""
    for key, value in options.items():  # one by one: 'a.b' and 'a' would replace each other
        cfg.merge_from_dict({key: value})
    cfg.randomness = {**(cfg.get('randomness') or {}), **({} if seed is None else {'seed': seed})}
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmkd_classroom.CostHook')]
    return cfg


def read_plan(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan's file and check all that can be checked before anything runs.

    Args:
        path: A Python config file with the keys of :class:`Plan`. Names that begin with ``_`` are
            ignored.
        overrides: Changes to it, as in ``--cfg-options``.

    Raises:
        ClassroomError: A key is missing, unknown or has an invalid value.
    """
    cfg = load_config(lambda: Config.fromfile(path), f'The plan {path}')
    cfg.merge_from_dict(dict(overrides or {}))
    entries = {key: value for key, value in cfg.to_dict().items() if not key.startswith('_')}
    for key, kind in (('methods', Method), ('metrics', Metric)):
        items = entries.get(key)
        if not isinstance(items, (list, tuple)) or not items:
            raise ClassroomError(f'{key} of {path} is {items!r}: give a list of at least one dict.')
        entries[key] = [
            _build(kind, item, f'{path}: {key}[{index}]') for index, item in enumerate(items)
        ]
    plan = _build(Plan, {'name': Path(path).stem, **entries}, f'{path}: plan')
    if Path(plan.name).name != plan.name or plan.name in ('', '..') or '\0' in plan.name:
        raise ClassroomError(
            f'name of {path} is {plan.name!r}: it is the name of a folder and of files, so give '
            'one without slashes. For another place give work_dir.'
        )
    _check(plan, str(path))
    return plan


def _build(kind: type, entry: Any, where: str) -> Any:
    """Make a dataclass from a dict whose keys and types are checked."""
    if not isinstance(entry, dict):
        raise ClassroomError(f'{where} is {entry!r}: it must be a dict.')
    check_options(kind, entry, where)
    return kind(**entry)


def _check(plan: Plan, where: str) -> None:
    seeds, names = plan.seeds, [method.name for method in plan.methods]
    if not seeds or {type(seed) for seed in seeds} != {int}:
        raise ClassroomError(f'seeds of {where} is {seeds!r}: give a list of whole numbers.')
    if len(set(seeds)) < len(seeds):
        raise ClassroomError(f'seeds of {where} is {seeds!r}: a seed is there twice.')
    if plan.mentor_seed in seeds:
        raise ClassroomError(
            f'mentor_seed of {where} is {plan.mentor_seed}, which is one of its seeds: choose '
            "another, or a mentor with the student's config is the student alone."
        )
    config_file(plan.classroom, f'classroom of {where} =')
    if 'mentors' not in plan.classroom_config.get('model', {}):
        raise ClassroomError(
            f'classroom of {where} is {plan.classroom!r}, which has no model.mentors: give the '
            'config of a classroom.'
        )
    mentors = [mentor_name(mentor) for mentor in plan.classroom_config.model.mentors]
    for index, name in enumerate(mentors):
        if name is None or mentors.index(name) < index:
            raise ClassroomError(
                f'model.mentors[{index}] of {plan.classroom} has '
                f'{"no name" if name is None else f"the name {name!r} as another one has"}: give '
                'it a unique `name`, because a plan refers to mentors by name.'
            )
    for index, method in enumerate(plan.methods):
        if names.index(method.name) < index:
            raise ClassroomError(
                f'methods[{index}].name of {where} is {method.name!r}, the name of '
                f'methods[{names.index(method.name)}]: give each its own.'
            )
        _check_method(plan, method, f'methods[{index}]', where)
    if plan.baseline is not None and plan.baseline not in names:
        raise ClassroomError(
            f'baseline of {where} is {plan.baseline!r}: name one of the methods, {names}.'
        )
    for index, metric in enumerate(plan.metrics):
        if metric.rule not in ('greater', 'less'):
            raise ClassroomError(
                f"metrics[{index}].rule of {where} is {metric.rule!r}: write 'greater' or 'less', "
                'whichever is better.'
            )
    alone = sum(method.alone for method in plan.methods)
    if plan.baseline is None and alone != 1:
        raise ClassroomError(
            f'{where} has {alone} methods with alone=True: have one, or name the method that the '
            'others are compared with in `baseline`.'
        )


def _reads_features(model: Mapping[str, Any]) -> bool:
    """Whether the strategy of a classroom's config reads feature maps of the mentors."""
    strategy = build_part(model['strategy'], MODELS, 'model.strategy')
    _, theirs = strategy.stages(_names(model))
    return any(theirs)


def _names(model: Mapping[str, Any]) -> list[str]:
    return [mentor_name(mentor) for mentor in model['mentors']]


def _check_method(plan: Plan, method: Method, key: str, where: str) -> None:
    if method.alone:
        if method.strategy or method.mentors:
            raise ClassroomError(
                f'{key} of {where} is alone=True and has mentors or a strategy: leave one out.'
            )
        return
    known = [mentor_name(m) for m in plan.classroom_config.model.mentors]
    unknown = sorted(set(method.mentors or known) - set(known))
    if unknown or method.mentors == []:
        raise ClassroomError(
            f'{key}.mentors of {where} is {method.mentors!r}: choose from {known}, the mentors of '
            f'{plan.classroom}.'
        )
    try:
        model = plan.config(method, plan.seeds[0]).model
        parts = (model.get(key) for key in ('strategy', 'ranker', 'divergence', 'adapter'))
        _, strategy, _, _ = build_method(plan.student, *parts)
        build_cache(model.get('cache'), strategy, strategy.stages(_names(model))[1])
    except Exception as error:  # strategies raise various types
        raise ClassroomError(
            f'{key} of {where} does not give a classroom: {type(error).__name__}: {error}'
        ) from error


def _merge_strategy(base: Mapping[str, Any], change: Mapping[str, Any] | None) -> dict[str, Any]:
    change = dict(change or {})
    merged = change if 'type' in change else {**base, **change}
    return {'type': DEFAULT_STRATEGY, **merged}  # with another default it is another run


def remove_mentors(cfg: Config) -> None:
    """Change the config to that of the student alone, with the classroom's data and epoch seeds."""
    cfg.model = student_model(cfg.model)
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook) != 'MentoringHook']
    if 'EpochSeedHook' not in map(type_name, hooks):  # a classroom registers it automatically
        hooks.append(dict(type='mmkd_classroom.EpochSeedHook'))
    cfg.custom_hooks = hooks
    if cfg.get('default_scope') == 'mmpose':
        # A classroom does not compute this accuracy in each step either.
        cfg.model.train_cfg = {'compute_acc': False, **(cfg.model.get('train_cfg') or {})}
