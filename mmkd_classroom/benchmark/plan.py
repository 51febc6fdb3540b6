"""A plan: which methods are compared in which classroom, with which seeds."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

from ..distiller import build_task
from ..errors import ClassroomError
from ..mentors.entry import as_entry
from ..options import build_part, type_name
from ..registry import MODELS
from ..tasks import Task


@dataclass(frozen=True)
class Metric:
    """A figure that the test gives.

    Attributes:
        key: As ``tools/test.py`` names it.
        name: In tables; by default the key.
        scale: Factor, such as 100 for percent.
    """

    key: str
    name: str | None = None
    scale: float = 1.0

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name or self.key

    def given_by(self, result: Mapping[str, Any]) -> bool:
        """Whether a line of the ledger has it. A mentor's own config may report others."""
        return self.key in result['metrics']

    def of(self, result: Mapping[str, Any]) -> float:
        """The figure in a line of the ledger, scaled.

        Raises:
            ClassroomError: The test did not give it.
        """
        if not self.given_by(result):
            raise ClassroomError(
                f'A metric of the plan has the key {self.key!r}, but the test of {result["name"]} '
                f'gave {sorted(result["metrics"])}: choose from these. What has run is kept.'
            )
        return self.scale * result['metrics'][self.key]


@dataclass(frozen=True)
class Method:
    """What one method changes in the classroom.

    Attributes:
        name: In tables; no two methods have the same.
        alone: Train the student without mentors.
        mentors: Names of those that teach, in place of all.
        strategy: With a ``type`` in place of the classroom's strategy; without one, options to
            change in it.
        options: Further changes, as ``--cfg-options`` takes them: ``{'optim_wrapper.lr': 0.1}``.
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
        classroom: Path of the classroom's config: data, student, mentors and schedule of all.
        methods: What is compared.
        seeds: Each method is trained with each of them.
        metrics: Of the results; the first is drawn.
        mentor_seed: Of mentors that are not there yet. None of ``seeds``: a mentor that is the
            student's twin would be the student alone.
        options: Changes to the config of every method.
        mentor_options: Changes to the configs of mentors that are not there yet. They are put where
            every classroom seeks them, so change nothing that makes them weaker.
        baseline: Name of the method that gains and costs are relative to; by default that which
            is ``alone``.
        work_dir: Takes runs and results; by default ``work_dirs/benchmarks/`` and the plan's name.
            Plans that share it share the runs that they have in common.
        name: The plan file's, without ending.
    """

    classroom: str
    methods: Sequence[Method]
    seeds: Sequence[int]
    metrics: Sequence[Metric]
    name: str
    mentor_seed: int = 100
    options: Mapping[str, Any] = field(default_factory=dict)
    mentor_options: Mapping[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    work_dir: str | None = None

    @property
    def folder(self) -> Path:
        """Takes runs and results."""
        return Path(self.work_dir or f'work_dirs/benchmarks/{self.name}').absolute()

    @property
    def reference(self) -> str:
        """Name of the method that the others are compared with."""
        return self.baseline or next(method.name for method in self.methods if method.alone)

    @cached_property
    def classroom_config(self) -> Config:
        """The classroom's config, with all entries of ``model.mentors`` written out."""
        cfg = Config.fromfile(self.classroom)
        mentors = cfg.get('model', {}).get('mentors') or []
        if mentors:
            cfg.model.mentors = [
                as_entry(entry, f'model.mentors[{index}]') for index, entry in enumerate(mentors)
            ]
        return cfg

    @cached_property
    def task(self) -> Task:
        """What the student's output means."""
        cfg = self.classroom_config
        model = dict(cfg.model.student)
        if cfg.get('data_preprocessor') is not None:
            model.setdefault('data_preprocessor', cfg.data_preprocessor)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            student = MMENGINE_MODELS.build(model)
        return build_task(student, cfg.model.get('task'), cfg.model.get('ranker'))

    def config(self, method: Method, seed: int) -> Config:
        """What ``tools/train.py`` runs for a method and a seed."""
        cfg = copy.deepcopy(self.classroom_config)
        if method.alone:
            _dismiss_mentors(cfg)
        else:
            cfg.model.mentors = [
                mentor
                for mentor in cfg.model.mentors
                if method.mentors is None or mentor_name(mentor) in method.mentors
            ]
            cfg.model.strategy = _merge_strategy(cfg.model.get('strategy') or {}, method.strategy)
        return prepared(cfg, {**self.options, **method.options}, seed)

    def mentors(self, method: Method) -> list[dict[str, Any]]:
        """The entries of those who teach in a method."""
        return self.config(method, self.seeds[0]).model.get('mentors', [])


def mentor_name(entry: Mapping[str, Any]) -> str | None:
    """Name of an entry of ``model.mentors``; None where it has neither name nor path."""
    name, config = entry.get('name'), entry.get('config')
    return name or (Path(config.split('::')[-1]).stem if isinstance(config, str) else None)


def prepared(cfg: Config, options: Mapping[str, Any], seed: int) -> Config:
    """The config with options, a seed and the hook that takes the cost."""
    for key, value in options.items():  # one by one: 'a.b' and 'a' would replace each other
        cfg.merge_from_dict({key: value})
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmkd_classroom.CostHook')]
    return cfg


def read_plan(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan's file and check all that can be checked before anything runs.

    Args:
        path: A Python config file with the keys of :class:`Plan`; names that begin with ``_`` are
            its own.
        overrides: Changes to it, as ``--cfg-options`` takes them.

    Raises:
        ClassroomError: A key is missing, unknown or has a value that it cannot have.
    """
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # mmengine raises a different type for each way to be wrong
        raise ClassroomError(
            f'The plan {path} could not be loaded ({type(error).__name__}: {error}).'
        ) from error
    cfg.merge_from_dict(dict(overrides or {}))
    entries = {key: value for key, value in cfg.to_dict().items() if not key.startswith('_')}
    for key, kind in (('methods', Method), ('metrics', Metric)):
        items = entries.get(key)
        if not isinstance(items, (list, tuple)) or not items:
            raise ClassroomError(f'{key} of {path} is {items!r}: give a list of at least one dict.')
        entries[key] = [
            _build(kind, item, f'{key}[{index}] of {path}') for index, item in enumerate(items)
        ]
    plan = _build(Plan, {'name': Path(path).stem, **entries}, str(path))
    _check(plan, str(path))
    return plan


def _build(kind: type, entry: Any, where: str) -> Any:
    """A dataclass of a dict, or an error that names what is missing or unknown."""
    if not isinstance(entry, dict):
        raise ClassroomError(f'{where} is {entry!r}: it must be a dict.')
    known = {item.name: item for item in fields(kind)}
    needed = {
        name
        for name, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING
    }
    missing, unknown = sorted(needed - entry.keys()), sorted(entry.keys() - known.keys())
    if missing or unknown:
        raise ClassroomError(
            f'{where} lacks {missing or "nothing"} and has the unknown keys {unknown}. It may have '
            f'{sorted(known)}.'
        )
    return kind(**entry)


def _check(plan: Plan, where: str) -> None:
    seeds = plan.seeds
    if not isinstance(seeds, (list, tuple)) or not seeds or {type(seed) for seed in seeds} != {int}:
        raise ClassroomError(f'seeds of {where} is {seeds!r}: give a list of whole numbers.')
    if len(set(seeds)) < len(seeds):
        raise ClassroomError(f'seeds of {where} is {seeds!r}: a seed is there twice.')
    if plan.mentor_seed in seeds:
        raise ClassroomError(
            f'mentor_seed of {where} is {plan.mentor_seed}, which is one of its seeds: choose '
            "another, or a mentor with the student's config is the student alone."
        )
    if not Path(plan.classroom).is_file():
        raise ClassroomError(f'classroom of {where} is {plan.classroom!r}: no such file.')
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
                'it a `name` of its own, for a plan tells mentors by their names.'
            )
    names = [method.name for method in plan.methods]
    for index, method in enumerate(plan.methods):
        if names.index(method.name) < index:
            raise ClassroomError(
                f'methods[{index}].name of {where} is {method.name!r}, as is that of '
                f'methods[{names.index(method.name)}]: give each its own.'
            )
        _check_method(plan, method, f'methods[{index}]', where)
    _check_baseline(plan, names, where)


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
    model = plan.config(method, plan.seeds[0]).model
    try:
        strategy = build_part(model.strategy, MODELS, 'strategy', 'ClassroomKD')
        strategy.check(plan.task)
        strategy.stages([mentor_name(mentor) for mentor in model.mentors])
    except Exception as error:  # whatever a strategy's own code raises
        raise ClassroomError(
            f'{key} of {where} does not give a strategy: {type(error).__name__}: {error}'
        ) from error


def _check_baseline(plan: Plan, names: Sequence[str], where: str) -> None:
    if plan.baseline is not None and plan.baseline not in names:
        raise ClassroomError(
            f'baseline of {where} is {plan.baseline!r}: name one of the methods, {names}.'
        )
    alone = [method.name for method in plan.methods if method.alone]
    if plan.baseline is None and len(alone) != 1:
        raise ClassroomError(
            f'{where} has {len(alone)} methods with alone=True: have one, or name the method that '
            'the others are compared with in `baseline`.'
        )


def _merge_strategy(base: Mapping[str, Any], change: Mapping[str, Any] | None) -> dict[str, Any]:
    change = dict(change or {})
    return change if 'type' in change else {**base, **change}


def _dismiss_mentors(cfg: Config) -> None:
    """Leave the student alone, else on the classroom's terms: its data, and its epochs' seeds."""
    cfg.model = cfg.model.student
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook) != 'MentoringHook']
    if 'EpochSeedHook' not in map(type_name, hooks):  # a classroom has it by itself
        hooks.append(dict(type='mmkd_classroom.EpochSeedHook'))
    cfg.custom_hooks = hooks
    if cfg.get('default_scope') == 'mmpose':
        # A classroom has no time for this accuracy either, which MMPose computes in each step.
        cfg.model.train_cfg = {'compute_acc': False, **(cfg.model.get('train_cfg') or {})}
