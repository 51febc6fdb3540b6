"""The classroom: a stock student whose loss also listens to frozen mentors.

To everything outside, a classroom is its student. The built student keeps its modules, their names
and its methods; only its class becomes a subclass that adds to the loss, as ``fully_shard`` and
``torch.nn.utils.parametrize`` do it. So optimizer constructors, hooks, checkpoints, EMA and
inferencers see the stock model.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from .errors import ClassroomError, did_you_mean, reason
from .features import recorded, stage_channels
from .journal import Journal
from .mentors import MentorBank
from .options import build_part, type_name
from .registry import MODELS, TASK_UTILS
from .runner import pack_joints_in_config, register_classroom_hooks, running
from .strategies import Strategy
from .tasks import Task
from .tasks.choose import task_type

_STRATEGY = 'strategy.'
_KEYS = ('student', 'mentors', 'task', 'ranker', 'strategy', 'data_preprocessor')


@MODELS.register_module()
def MultiMentorDistiller(
    student: dict | nn.Module | None = None,
    mentors: Sequence[dict[str, Any] | str] | None = None,
    task: dict | None = None,
    ranker: dict | None = None,
    strategy: dict | None = None,
    data_preprocessor: dict | None = None,
    **unknown: Any,
) -> 'Classroom':
    """Turn a stock student into a classroom.

    Args:
        student: Config of a stock model, or the model, which is changed in place.
        mentors: Entries ``dict(config=..., checkpoint=..., name=...)``, or ``'package::path'``
            for a config with its zoo's weights; see :func:`mmkd_classroom.mentors.read_entry`.
        task: Config of a task, without its ranker; by default the one of the student's head.
        ranker: Config of the ranker. By default the probability of the true class for classes; for
            joints OKS, or, where the data set has no sigmas, PCK.
        strategy: Config of a strategy; by default ``ClassroomKD``.
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
    parts = _build_parts(student, task, ranker, strategy, mentors)
    # Last of all, so that a model that was given stays a stock one where something does not fit.
    student.__class__ = _classroom_type(type(student))
    student._take(*parts)
    runner = running()
    if runner is not None:
        pack_joints_in_config(runner._train_dataloader)
    return student


class Classroom:
    """What the class of a student gains: mentors, and a loss that listens to them.

    Attributes:
        bank: The mentors, :class:`~mmkd_classroom.mentors.MentorBank`; no child module.
        task: What the student's output means, :class:`~mmkd_classroom.tasks.Task`.
        strategy: Who teaches what, :class:`~mmkd_classroom.strategies.Strategy`. A child module,
            so that what it learns is trained, but no part of the state dict.
        journal: Statistics of the lessons, :class:`~mmkd_classroom.journal.Journal`.
    """

    bank: MentorBank
    task: Task
    strategy: Strategy
    journal: Journal

    def loss(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of one lesson; its statistics go into the journal.

        Args:
            inputs: ``(N, 3, H, W)``, normalised for the student.
            data_samples: N samples with labels.

        Returns:
            The student's own losses and those of the strategy.
        """
        if not self._samples_checked:
            self.check_samples(data_samples)
        # Mentors first: what their layers take is free again before the student's activations
        # pile up for the backward pass, so the peak of memory is that of one, not of both.
        mentors = self.bank.predict(inputs)
        with recorded(self, self._stages) as features:
            prediction, losses = self.task.capture(
                self, inputs, data_samples, self.strategy.weighs_samples, super().loss
            )
        prediction.features = features
        truth = self.task.truth(data_samples, inputs.device)
        lesson = self.strategy(prediction, mentors, truth, self.task, losses)
        self.journal.add(lesson.statistics)
        return _with_free_total(lesson.losses)

    def check_samples(self, data_samples: list[Any], metainfo: dict | None = None) -> None:
        """Check training samples and match the mentors' joints with theirs, once.

        Args:
            data_samples: At least one.
            metainfo: That of their data set, where it is at hand.

        Raises:
            ClassroomError: They lack what scoring needs, or a mentor has none of their joints.
        """
        self.task.check_samples(data_samples, metainfo)
        self.bank.bind(self.task.item_names(data_samples))
        self._samples_checked = True

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

    def _take(self, task: Task, strategy: Strategy, bank: MentorBank, stages: list[str]) -> None:
        """Take the parts beside the student."""
        # No child: what is not the student's and does not learn is none of the model's modules.
        vars(self)['task'] = task
        self.strategy = strategy
        self.bank = bank
        self.journal = Journal()
        self._stages = stages
        self._samples_checked = False
        self._register_state_dict_hook(_leave_out_strategy)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        # What is no child moves with the model all the same.
        self.bank.apply(fn)
        self.task._apply(fn)
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
    task: dict | None,
    ranker: dict | None,
    strategy: dict | None,
    mentors: Sequence[dict[str, Any] | str] | None,
) -> tuple[Task, Strategy, MentorBank, list[str]]:
    """The task, the strategy, the mentors, and the student's stages that the strategy reads."""
    task = build_task(student, task, ranker)
    task.check_student(student)
    strategy = build_part(strategy, MODELS, 'model.strategy', 'ClassroomKD')
    strategy.check(task)
    if strategy.weighs_samples:
        task.check_per_sample(student)
    bank = MentorBank.build(mentors, student, task)
    return task, strategy, bank, _fit_strategy(strategy, student, bank)


def build_task(student: nn.Module, task: dict | None, ranker: dict | None) -> Task:
    """The task of a classroom, with its ranker.

    Args:
        student: Stock model.
        task: ``model.task``; see :func:`MultiMentorDistiller`.
        ranker: ``model.ranker``.

    Raises:
        ClassroomError: They cannot be built, or no task takes such a student.
    """
    if ranker is not None:
        ranker = build_part(ranker, TASK_UTILS, 'model.ranker')
    if isinstance(task, Mapping):
        if 'ranker' in task:
            raise ClassroomError('model.task has no option `ranker`: write it as model.ranker.')
        task = dict(task)
    elif task is None:
        task = {}
    else:
        raise ClassroomError(f'model.task is {task!r}: write dict(type=..., ...).')
    if 'type' not in task:
        task['type'] = task_type(student).__name__
    return build_part({**task, 'ranker': ranker}, TASK_UTILS, 'model.task')


def _fit_strategy(strategy: Strategy, student: nn.Module, bank: MentorBank) -> list[str]:
    """Fit a strategy to the feature maps it asks for; the student's stages that it reads."""
    ours, theirs = strategy.stages([mentor.name for mentor in bank])
    channels = stage_channels(student, ours, 'model.student')
    mentors = [
        mentor.watch(stages, f'model.mentors[{index}]')
        for index, (mentor, stages) in enumerate(zip(bank, theirs))
    ]
    # As if nothing was drawn: the student's training is the same whatever learns beside it.
    with torch.random.fork_rng(devices=[]):
        strategy.adapt(channels, mentors)
    return ours


@cache
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
