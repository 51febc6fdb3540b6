"""The classroom: a stock student whose loss includes distillation from frozen mentors.

The student keeps its modules, their names and its methods. Only its class changes, to a subclass
that overrides ``loss``; ``fully_shard`` and ``torch.nn.utils.parametrize`` work in the same way.
Optimizer constructors, hooks, checkpoints, EMA and inferencers therefore see the stock model.
"""

import copy
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from .cache import MentorCache
from .divergences import Divergence
from .errors import ClassroomError, did_you_mean, reason
from .features import recorded
from .functional import count_anomalies
from .heads import HeadAdapter
from .hub import student_model
from .mentors import MentorBank
from .options import type_name
from .parts import build_parts
from .rankers import Ranker, default_ranker
from .registry import MODELS
from .runner import current_runner, pack_joints_in_config, register_classroom_hooks
from .statistics import Statistics, Stopwatch
from .strategies import Strategy
from .structures import Prediction, StepOutput, Targets

_STRATEGY = 'strategy.'


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
            for a config and its model zoo weights; see :func:`mmkd_classroom.mentors.read_entry`.
        strategy: Config of the strategy. Default: ``RunningAdvantage``.
        ranker: Config of the ranker. Default: the probability of the true class for classes; OKS
            for joints, or PCK if the data set has no sigmas.
        divergence: Config of the divergence. Default: the one of the head adapter,
            ``KLDivergence``.
        adapter: Config of the student's head adapter, such as ``dict(sharpness=50.0)`` or
            ``dict(metainfo='coco')``. Default: the adapter that
            accepts the student; of several, the one that was registered last.
        cache: Options of :class:`mmkd_classroom.cache.MentorCache`, or ``dict()`` for its defaults:
            the mentors run once for each view of a sample. Default: they run in every step.
        data_preprocessor: Used if the student's config has none; otherwise, if it differs, a
            warning is logged. MMPretrain's configs define it outside of ``model``.
        **unknown: Raise an error. The keys of a base config appear here if ``_delete_=True`` is
            missing.

    Returns:
        The student, which is now a :class:`Classroom`.

    Raises:
        ClassroomError: A part of the config is missing, unknown or does not fit.
    """
    _check_keys(unknown, student)
    if isinstance(student, Mapping):
        student = dict(student)
        if data_preprocessor is not None:
            used = student.setdefault('data_preprocessor', data_preprocessor)
            if used != data_preprocessor:
                print_log(
                    'data_preprocessor is not used, because model.student has another one: write '
                    'changes into model.student.data_preprocessor.',
                    'current',
                    logging.WARNING,
                )
        try:
            student = MMENGINE_MODELS.build(student)
        except ClassroomError:
            raise
        except Exception as error:  # stock code raises various types
            raise ClassroomError(
                f'model.student cannot be built ({reason(error)}): it must build by itself in the '
                'stock tools.'
            ) from error
    if isinstance(student, Classroom):
        raise ClassroomError('model.student is a classroom itself: give its own student.')
    parts = build_parts(student, mentors, strategy, ranker, divergence, adapter, cache)
    # Done last: if a part does not fit, a student that was passed as a model stays unchanged.
    parts['adapter'].configure_student(student)
    student.__class__ = _classroom_type(type(student))
    student._take(**parts)
    runner = current_runner()
    if runner is not None:
        pack_joints_in_config(runner._train_dataloader)
    return student


#: The keys of a classroom's ``model``.
KEYS = tuple(signature(MultiMentorDistiller).parameters)[:-1]


class Classroom:
    """Base class that adds mentors and a distillation loss to the class of a student.

    Attributes:
        mentors: The frozen mentors. Not a child module.
        adapter: Head adapter of the student.
        ranker: Scores the members. If the config has no ranker, it is None until :meth:`prepare`.
            Not a child module.
        divergence: Compares the student with a mentor.
        strategy: Weighs the mentors. A child module, so that its parameters are trained, but not
            part of the state dict.
        cache: The mentors' outputs on disk, or None.
        statistics: Accumulates the statistics of the strategy until they are read.
        mentor_time: Measures the time of the mentors in a step.
    """

    mentors: MentorBank
    adapter: HeadAdapter
    ranker: Ranker | None
    divergence: Divergence
    strategy: Strategy
    cache: MentorCache | None
    statistics: Statistics
    mentor_time: Stopwatch

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Compute the losses of one training step.

        Args:
            inputs: ``(N, 3, H, W)``, normalised for the student.
            data_samples: N samples with labels.

        Returns:
            The student's own losses and those of the strategy.

        Raises:
            ClassroomError: :meth:`prepare` was not called before.
        """
        step = self.distill(inputs, data_samples)
        self.statistics.add({**step.output.statistics, **_anomalies(step.mentors)})
        return _rename_loss(step.output.losses)

    def distill(self, inputs: Tensor, data_samples: list[Any]) -> StepOutput:
        """Run all members on a batch, score them and compute the losses; see :meth:`loss`."""
        if not self._prepared:
            raise ClassroomError(
                'This classroom has not seen its data yet. Outside of a Runner, call '
                'model.prepare(data_samples) once, before training. In a FlexibleRunner, add '
                "custom_hooks=[dict(type='mmkd_classroom.ClassroomHook')]."
            )
        # Mentors first: the memory of their activations is freed before the student's are stored
        # for the backward pass. This lowers the peak memory.
        with self.mentor_time.running(inputs.device):
            if self.cache is None:
                mentors = self.mentors.predict(inputs)
            else:
                mentors = self.cache.predict(list(self.mentors), inputs, data_samples)
        student, losses, targets = self.run_student(inputs, data_samples)
        scores = self.ranker([student, *mentors], targets)
        output = self.strategy(student, mentors, scores, targets, self.divergence, losses)
        return StepOutput(student, mentors, targets, scores, output)

    def run_student(
        self, inputs: Tensor, data_samples: list[Any]
    ) -> tuple[Prediction, dict[str, Tensor], Targets]:
        """Run the student on a batch.

        Args:
            inputs: ``(N, 3, H, W)``.
            data_samples: N samples.

        Returns:
            Its prediction, with gradient; its own losses, scalars, or ``(N,)`` if the strategy
            needs them per sample; and the targets.
        """
        targets = self.adapter.targets(data_samples, inputs.device)
        with recorded(self, self._stages) as features:
            student, losses = self.adapter.loss(
                self, super().loss, inputs, data_samples, self.strategy.needs_per_sample_loss
            )
        _check_gradient(features)
        return replace(student, features=features), losses, targets

    def prepare(self, data_samples: list[Any], metainfo: dict | None = None) -> None:
        """Check training samples, match the mentors' joints with theirs, and choose the ranker.

        Call it once, before training. In a Runner, :class:`mmkd_classroom.hooks.ClassroomHook`
        calls it.

        Args:
            data_samples: At least one training sample.
            metainfo: Metainfo of their data set, if known.

        Raises:
            ClassroomError: A field that scoring needs is missing, or a mentor has no joint in
                common with the samples.
        """
        metainfo = self.adapter.check_samples(data_samples, metainfo)
        if not self._ranker_given:
            vars(self)['ranker'] = default_ranker(self.adapter.kind, metainfo)
        self.ranker.prepare(self.adapter.num_items, metainfo, data_samples[0])
        self.ranker.to(next(self.parameters()).device)
        self.divergence.prepare(data_samples[0])
        self.mentors.prepare(metainfo)
        self._prepared = True

    def init_weights(self) -> None:
        """Initialise the student and register the hooks. MMEngine calls it before training."""
        # The strategy is removed meanwhile: the student's `init_cfg` would reset its layers, too.
        strategy = self._modules.pop('strategy')
        try:
            super().init_weights()
        finally:
            self.strategy = strategy
        runner = current_runner()
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
        """Set the parts of the classroom."""
        self.mentors = mentors
        self.adapter = adapter
        # Not registered as a child module: the ranker is not part of the student and has no
        # trained parameters.
        vars(self)['ranker'] = ranker
        self._ranker_given = ranker is not None
        self.divergence = divergence
        self.strategy = strategy
        self.cache = cache
        self.statistics = Statistics()
        self.mentor_time = Stopwatch()
        self._stages = stages
        self._prepared = False
        self._register_state_dict_hook(_leave_out_strategy)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        # The mentors and the ranker are not child modules, so they are moved here.
        self.mentors.apply(fn)
        module = super()._apply(fn, *args, **kwargs)
        if self.ranker is not None:
            # Only its device: in half precision, scores would be lost to rounding.
            self.ranker.to(next(self.parameters()).device)
        return module

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        # The state dict has no strategy in it. The current values are added, so that strict
        # loading works and the strategy keeps its parameters.
        if 'strategy' in self._modules:  # see `init_weights`
            state_dict.update(self.strategy.state_dict(prefix=prefix + _STRATEGY))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __reduce_ex__(self, protocol: int) -> tuple:
        # The class is created at run time, so a pickle stores the stock class instead.
        _, _, state, *rest = super().__reduce_ex__(protocol)
        return _revive, (_stock_type(self),), state, *rest


def student_of(classroom: Classroom) -> nn.Module:
    """Return the student of a classroom as an object of its stock class.

    It shares its modules and tensors with the classroom.
    """
    student = copy.copy(classroom)
    student.__class__ = _stock_type(classroom)
    student._modules = {name: m for name, m in student._modules.items() if name != 'strategy'}
    return student


def student_config(cfg: Config) -> Config:
    """Return the stock config of a classroom's student.

    Args:
        cfg: Config of a classroom. Any other config is copied without changes.

    Returns:
        A copy with the student as ``model`` and without the hooks of this package. It runs in
        MMPose's and MMPretrain's own tools.
    """
    cfg = copy.deepcopy(cfg)
    if is_classroom(cfg.get('model')):
        cfg.model = student_model(cfg.model)
        cfg.custom_hooks = [
            hook for hook in cfg.get('custom_hooks') or [] if not _is_ours(hook['type'])
        ]
    return cfg


def is_classroom(model: Any) -> bool:
    """Whether the ``model`` of a config is a classroom."""
    return isinstance(model, Mapping) and type_name(model) == MultiMentorDistiller.__name__


def _is_ours(kind: str | type) -> bool:
    name = kind if isinstance(kind, str) else kind.__module__
    return name.startswith('mmkd_classroom.')


def _check_keys(unknown: Mapping[str, Any], student: Any) -> None:
    """Raise an error if the keys of ``model`` are not those of a classroom."""
    if 'backbone' in unknown or 'head' in unknown:
        raise ClassroomError(
            f"model has the student's own keys {sorted(unknown)} beside those of the classroom: "
            "write `_delete_=True` in model, so that the base config's model is replaced, and "
            '`student=_base_.model`.'
        )
    if unknown:
        names = ', '.join(f'{name!r}{did_you_mean(name, KEYS)}' for name in unknown)
        raise ClassroomError(f'model has no option {names}. It takes: {", ".join(KEYS)}.')
    if student is None:
        raise ClassroomError(
            "model.student is missing: write `student=_base_.model`, or a stock model's config."
        )
    if not isinstance(student, (Mapping, nn.Module)):
        raise ClassroomError(f'model.student is {student!r}: give the config of a stock model.')


@functools.cache
def _classroom_type(stock: type[nn.Module]) -> type[Classroom]:
    """Create the subclass of a stock class. Cached, so that equal models have equal types."""
    body = dict(__module__=stock.__module__, __doc__=Classroom.__doc__)
    return type(f'Classroom{stock.__name__}', (Classroom, stock), body)


def _stock_type(classroom: Classroom) -> type[nn.Module]:
    return type(classroom).__bases__[1]


def _revive(stock: type[nn.Module]) -> Classroom:
    return object.__new__(_classroom_type(stock))


def _check_gradient(features: Mapping[str, Tensor]) -> None:
    """Raise an error if the student cannot learn from its features."""
    for stage, value in features.items():
        if torch.is_grad_enabled() and not value.requires_grad:
            raise ClassroomError(
                f'model.strategy reads the stage {stage!r} of model.student.backbone, which has no '
                'gradient there: it is frozen (frozen_stages), or inside of a block that is '
                'recomputed (with_cp). Choose another stage.'
            )


def _anomalies(mentors: Sequence[Prediction]) -> dict[str, Tensor]:
    """Number of samples with constant and with huge outputs of each mentor, ``(M,)`` each."""
    # What a conversion returns may be far from 0 where nothing is wrong with the mentor.
    counts = [count_anomalies(m.raw or m.values, m.valid.any(dim=1)) for m in mentors]
    constant, huge = (torch.stack(count) for count in zip(*counts))
    return dict(constant=constant, huge=huge)


def _rename_loss(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ``loss`` to ``loss_student``.

    MMPretrain's heads name their loss ``loss``. MMEngine's log uses this name for the sum of all
    losses.
    """
    return {'loss_student' if name == 'loss' else name: value for name, value in losses.items()}


def _leave_out_strategy(module: nn.Module, state_dict: dict, prefix: str, _: Any) -> None:
    """Remove the strategy's parameters from the student's state dict."""
    for entries in (state_dict, getattr(state_dict, '_metadata', {})):
        for name in [name for name in entries if f'{name}.'.startswith(prefix + _STRATEGY)]:
            del entries[name]
