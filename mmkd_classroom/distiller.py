"""The classroom: a stock student whose loss also listens to frozen mentors.

To everything outside, a classroom is its student. The built student keeps its modules, their names
and its methods; only its class becomes a subclass that adds to the loss, as ``fully_shard`` and
``torch.nn.utils.parametrize`` do it. So optimizer constructors, hooks, checkpoints, EMA and
inferencers see the stock model.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from .cache import MentorCache
from .divergences import Divergence
from .errors import ClassroomError, did_you_mean, reason
from .features import recorded, stage_channels
from .heads import HeadAdapter, build_adapter
from .mentors import MentorBank, distinct_names, read_entries
from .options import build_part, check_options, type_name
from .rankers import Ranker, default_ranker
from .registry import MODELS, TASK_UTILS
from .runner import pack_joints_in_config, register_classroom_hooks, running
from .statistics import Statistics
from .strategies import Strategy

_STRATEGY = 'strategy.'
_KEYS = (
    'student',
    'mentors',
    'strategy',
    'ranker',
    'divergence',
    'adapter',
    'cache',
    'data_preprocessor',
)


@MODELS.register_module()
def MultiMentorDistiller(
    student: dict | nn.Module | None = None,
    mentors: Sequence[dict[str, Any] | str] | None = None,
    strategy: dict | None = None,
    ranker: dict | None = None,
    divergence: dict | None = None,
    adapter: dict | None = None,
    cache: dict | None = None,
    data_preprocessor: dict | None = None,
    **unknown: Any,
) -> 'Classroom':
    """Turn a stock student into a classroom.

    Args:
        student: Config of a stock model, or the model, which is changed in place.
        mentors: Entries ``dict(config=..., checkpoint=..., name=...)``, or ``'package::path'``
            for a config with its zoo's weights; see :func:`mmkd_classroom.mentors.read_entry`.
        strategy: Config of a strategy; by default ``ClassroomKD``.
        ranker: Config of the ranker. By default the probability of the true class for classes; for
            joints OKS, or, where the data set has no sigmas, PCK.
        divergence: Config of the divergence; by default ``KLDivergence``.
        adapter: Config of the student's head adapter, such as ``dict(sharpness=50.0)`` or
            ``dict(metainfo='coco')``. By default the adapter that accepts the student.
        cache: Options of :class:`mmkd_classroom.cache.MentorCache`, ``dict()`` for its defaults:
            mentors run once for each view of a sample. None runs them in every step.
        data_preprocessor: For the student where its own config has none, as MMPretrain's
            configs do.
        **unknown: Refused; a base config's keys come here where ``_delete_=True`` is forgotten.

    Returns:
        The student, which is a :class:`Classroom` now.

    Raises:
        ClassroomError: Something in the config is missing, unknown or does not fit.
    """
    _check_keys(unknown, student)
    if isinstance(student, Mapping):
        student = dict(student)
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        try:
            student = MMENGINE_MODELS.build(student)
        except ClassroomError:
            raise
        except Exception as error:  # whatever stock code raises
            raise ClassroomError(
                f'model.student cannot be built ({reason(error)}): it must build by itself in the '
                'stock tools.'
            ) from error
    if isinstance(student, Classroom):
        raise ClassroomError('model.student is a classroom itself: give its own student.')
    parts = _build_parts(student, mentors, strategy, ranker, divergence, adapter, cache)
    # Last of all, so that a model that was given stays a stock one where something does not fit.
    student.__class__ = _classroom_type(type(student))
    student._take(**parts)
    runner = running()
    if runner is not None:
        pack_joints_in_config(runner._train_dataloader)
    return student


class Classroom:
    """What the class of a student gains: mentors, and a loss that listens to them.

    Attributes:
        mentors: The frozen mentors. No child module.
        adapter: What the student's output means.
        ranker: How good each member is. None until :meth:`prepare` where the config names none.
            No child module.
        divergence: How far the student is from a mentor.
        strategy: Who teaches how much. A child module, so that what it learns is trained, but no
            part of the state dict.
        cache: The mentors' answers on disk, or None.
        statistics: Those of the strategy, since they were last read.
    """

    mentors: MentorBank
    adapter: HeadAdapter
    ranker: Ranker | None
    divergence: Divergence
    strategy: Strategy
    cache: MentorCache | None
    statistics: Statistics

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of one training step.

        Args:
            inputs: ``(N, 3, H, W)``, normalised for the student.
            data_samples: N samples with labels.

        Returns:
            The student's own losses and those of the strategy.

        Raises:
            ClassroomError: :meth:`prepare` was not called before.
        """
        if not self._prepared:
            raise ClassroomError(
                'This classroom has not seen its data yet: outside of a Runner call '
                'model.prepare(data_samples) once, before training.'
            )
        # Mentors first: what their layers take is free again before the student's activations
        # pile up for the backward pass, so the peak of memory is that of one, not of both.
        if self.cache is None:
            mentors = self.mentors.predict(inputs)
        else:
            mentors = self.cache.predict(list(self.mentors), inputs, data_samples)
        with recorded(self, self._stages) as features:
            student, losses = self.adapter.loss(
                self, super().loss, inputs, data_samples, self.strategy.needs_per_sample_loss
            )
        student = replace(student, features=features)
        targets = self.adapter.targets(data_samples, inputs.device)
        scores = self.ranker([student, *mentors], targets)
        output = self.strategy(student, mentors, scores, targets, self.divergence, losses)
        self.statistics.add(output.statistics)
        return _with_free_total(output.losses)

    def prepare(self, data_samples: list[Any], metainfo: dict | None = None) -> None:
        """Check training samples, match the mentors' joints with theirs, and choose the ranker.

        Called once, before training; in a Runner by :class:`mmkd_classroom.hooks.ClassroomHook`.

        Args:
            data_samples: At least one.
            metainfo: That of their data set, where it is at hand.

        Raises:
            ClassroomError: They lack what scoring needs, or a mentor has none of their joints.
        """
        metainfo = self.adapter.check_samples(data_samples, metainfo)
        if self.ranker is None:
            vars(self)['ranker'] = default_ranker(self.adapter.kind, metainfo)
        self.ranker.bind(self.adapter.num_items, metainfo, data_samples[0])
        self.ranker.to(next(self.parameters()).device)
        self.mentors.match(metainfo)
        self._prepared = True

    def init_weights(self) -> None:
        """The student's, and the classroom's hooks: MMEngine calls this before it trains."""
        # Not the strategy's: an `init_cfg` of the student's would draw for its layers, too.
        strategy = self._modules.pop('strategy')
        try:
            super().init_weights()
        finally:
            self.strategy = strategy
        runner = running()
        if runner is not None:
            register_classroom_hooks(runner)

    def _take(
        self,
        mentors: MentorBank,
        adapter: HeadAdapter,
        ranker: Ranker | None,
        divergence: Divergence,
        strategy: Strategy,
        cache: MentorCache | None,
        stages: list[str],
    ) -> None:
        """Take the parts beside the student."""
        self.mentors = mentors
        self.adapter = adapter
        # No child: what is not the student's and does not learn is none of the model's modules.
        vars(self)['ranker'] = ranker
        self.divergence = divergence
        self.strategy = strategy
        self.cache = cache
        self.statistics = Statistics()
        self._stages = stages
        self._prepared = False
        self._register_state_dict_hook(_leave_out_strategy)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        # What is no child moves with the model all the same.
        self.mentors.apply(fn)
        if self.ranker is not None:
            self.ranker._apply(fn)
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # A student's state dict passes for the whole: what the strategy has learned stays.
        state_dict.update(self.strategy.state_dict(prefix=prefix + _STRATEGY))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __reduce_ex__(self, protocol: int) -> tuple:
        # The class is made at run time, so a pickle names the stock one.
        _, _, state, *rest = super().__reduce_ex__(protocol)
        return _revive, (_stock_type(self),), state, *rest


def student_of(classroom: Classroom) -> nn.Module:
    """The plain student of a classroom: another object of the stock class, with the same weights.

    Its modules and tensors are the classroom's own, not copies.
    """
    student = copy.copy(classroom)
    student.__class__ = _stock_type(classroom)
    student._modules = {name: m for name, m in student._modules.items() if name != 'strategy'}
    return student


def student_config(cfg: Config) -> Config:
    """The stock config of a classroom's student.

    Args:
        cfg: Config of a classroom, or any other, which is returned as a copy.

    Returns:
        A copy whose ``model`` is the student and whose hooks are the stock ones. It runs in
        MMPose's and MMPretrain's own tools.
    """
    cfg = copy.deepcopy(cfg)
    if is_classroom(cfg.get('model')):
        cfg.model = cfg.model.student
        cfg.custom_hooks = [
            hook for hook in cfg.get('custom_hooks') or [] if not _is_ours(hook['type'])
        ]
    return cfg


def is_classroom(model: Any) -> bool:
    """Whether the ``model`` of a config is a classroom's."""
    return isinstance(model, Mapping) and type_name(model) == MultiMentorDistiller.__name__


def _is_ours(kind: str | type) -> bool:
    name = kind if isinstance(kind, str) else kind.__module__
    return name.startswith('mmkd_classroom.')


def _check_keys(unknown: Mapping[str, Any], student: Any) -> None:
    """Raise where the keys of ``model`` are not those of a classroom."""
    if 'backbone' in unknown or 'head' in unknown:
        raise ClassroomError(
            f"model has the student's own keys {sorted(unknown)} beside those of the classroom: "
            "write `_delete_=True` in model, so that the base config's model is replaced, and "
            '`student=_base_.model`.'
        )
    if 'task' in unknown:
        raise ClassroomError(
            'model.task does not exist any more: the task follows from the student. Write its '
            'options sharpness and metainfo in model.adapter, and distance as model.divergence = '
            "dict(type='mmkd_classroom.MSE')."
        )
    if unknown:
        names = ', '.join(f'{name!r}{did_you_mean(name, _KEYS)}' for name in unknown)
        raise ClassroomError(f'model has no option {names}. It takes: {", ".join(_KEYS)}.')
    if student is None:
        raise ClassroomError(
            "model.student is missing: write `student=_base_.model`, or a stock model's config."
        )
    if not isinstance(student, (Mapping, nn.Module)):
        raise ClassroomError(f'model.student is {student!r}: give the config of a stock model.')


def _build_parts(
    student: nn.Module,
    mentors: Sequence[dict[str, Any] | str] | None,
    strategy: dict | None,
    ranker: dict | None,
    divergence: dict | None,
    adapter: dict | None,
    cache: dict | None,
) -> dict[str, Any]:
    """The parts of a classroom beside its student; see :meth:`Classroom._take`."""
    adapter = build_adapter(student, adapter)
    strategy = build_part(strategy, MODELS, 'model.strategy', 'ClassroomKD', kind=Strategy)
    adapter.check_student(student, strategy.needs_per_sample_loss)
    ranker = build_ranker(ranker, adapter)
    divergence = build_part(
        divergence, TASK_UTILS, 'model.divergence', adapter.divergence, kind=Divergence
    )
    divergence.check(adapter)
    strategy.check(adapter, divergence)

    entries = read_entries(mentors, adapter.mentor_options)
    names = distinct_names(entries)
    ours, theirs = strategy.stages(names)
    cache = build_cache(cache, strategy, ours, theirs)
    channels = stage_channels(student, ours, 'model.student')
    bank, mentor_channels = MentorBank.build(entries, names, theirs, student, adapter)
    # As if nothing was drawn: the student's training is the same whatever learns beside it.
    with torch.random.fork_rng(devices=[]):
        strategy.build(adapter, names, channels, mentor_channels)
    return dict(
        mentors=bank,
        adapter=adapter,
        ranker=ranker,
        divergence=divergence,
        strategy=strategy,
        cache=cache,
        stages=ours,
    )


def build_ranker(cfg: dict | None, adapter: HeadAdapter) -> Ranker | None:
    """The ranker of a config, or None where the data decide.

    Args:
        cfg: ``model.ranker``.
        adapter: Adapter of the student.

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
    cfg: dict | None, strategy: Strategy, ours: Sequence[str], theirs: Sequence[Sequence[str]]
) -> MentorCache | None:
    """The cache of a config, not opened yet.

    Args:
        cfg: ``model.cache``.
        strategy: The strategy.
        ours: Stages of the student that it reads.
        theirs: Stages of each mentor that it reads.

    Raises:
        ClassroomError: An option is wrong, or the strategy reads the mentors' features.
    """
    if cfg is None:
        return None
    if not isinstance(cfg, Mapping):
        raise ClassroomError(f'model.cache is {cfg!r}: write dict() for its defaults.')
    if any(theirs):
        raise ClassroomError(
            f'model.cache keeps what mentors return, but model.strategy = {type(strategy).__name__}'
            f' reads their features ({", ".join(dict.fromkeys(sum(map(list, theirs), [])))}): '
            'leave the cache or the features out.'
        )
    check_options(MentorCache, cfg, 'model.cache')
    return MentorCache(**cfg)


@functools.cache
def _classroom_type(stock: type[nn.Module]) -> type[Classroom]:
    """The subclass of a stock class; one for each, so that equal models have equal types."""
    body = dict(__module__=stock.__module__, __doc__=Classroom.__doc__)
    return type(f'Classroom{stock.__name__}', (Classroom, stock), body)


def _stock_type(classroom: Classroom) -> type[nn.Module]:
    return type(classroom).__bases__[1]


def _revive(stock: type[nn.Module]) -> Classroom:
    return object.__new__(_classroom_type(stock))


def _with_free_total(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses without the name ``loss``, which MMEngine's log has for their sum.

    MMPretrain's heads call their own loss so, and would show it in place of the sum.
    """
    return {'loss_student' if name == 'loss' else name: value for name, value in losses.items()}


def _leave_out_strategy(module: nn.Module, state_dict: dict, prefix: str, _: Any) -> None:
    """Keep what the strategy learns out of the student's state dict."""
    for entries in (state_dict, getattr(state_dict, '_metadata', {})):
        for name in [name for name in entries if f'{name}.'.startswith(prefix + _STRATEGY)]:
            del entries[name]
