"""The classroom as one MMEngine model: a stock student, frozen mentors, a task, a strategy."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from .features import recorded, stage_channels
from .journal import Journal
from .mentors import MentorBank
from .registry import MODELS, TASK_UTILS

_STUDENT = 'student.'


@MODELS.register_module()
class MultiMentorDistiller(BaseModel):
    """Trains a stock student with a classroom of frozen stock mentors.

    To everything around it (optimizer, checkpoints, EMA, DDP, evaluation) it is its student: its
    state dict has the student's keys and loads a student's checkpoint.

    Args:
        student: Config of a stock model, or the model.
        mentors: Entries ``dict(config=..., checkpoint=..., name=...)``; see
            :func:`mmkd_classroom.mentors.build_mentor`.
        task: Config of a task, without its ranker.
        ranker: Config of the ranker that fits the task.
        strategy: Config of a strategy.
        data_preprocessor: For the student where its own config has none, as MMPretrain's
            configs do.

    Raises:
        ClassroomError: Something in the config is missing or does not fit.

    Attributes:
        bank: The mentors, :class:`~mmkd_classroom.mentors.MentorBank`; no child module.
        journal: Statistics of the lessons, :class:`~mmkd_classroom.journal.Journal`.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        mentors: Sequence[dict[str, Any]],
        task: dict,
        ranker: dict,
        strategy: dict,
        data_preprocessor: dict | None = None,
    ) -> None:
        if isinstance(student, dict):
            student = dict(student)
            if data_preprocessor is not None:
                student.setdefault('data_preprocessor', data_preprocessor)
            student = MMENGINE_MODELS.build(student)
        super().__init__(data_preprocessor=student.data_preprocessor)
        self.student = student
        self.task = TASK_UTILS.build(dict(task, ranker=TASK_UTILS.build(ranker)))
        self.strategy = MODELS.build(strategy)
        self.task.check_student(student)
        self.strategy.check(self.task)
        if self.strategy.weighs_samples:
            self.task.check_per_sample(student)
        self.bank = MentorBank.build(mentors, student, self.task)
        self._stages = self._adapt_strategy()
        self.journal = Journal()
        self._samples_checked = False
        self._register_state_dict_hook(_hoist_student)
        self._register_load_state_dict_pre_hook(_lower_student, with_module=True)

    def forward(
        self, inputs: Tensor, data_samples: list[Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """MMEngine's entry: a lesson for ``mode='loss'``, else the student alone.

        Args:
            inputs: ``(N, 3, H, W)``, or a list of N images.
            data_samples: N samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

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
        with recorded(self.student, self._stages) as features:
            prediction, losses = self.task.capture(
                self.student, inputs, data_samples, self.strategy.weighs_samples
            )
        prediction.features = features
        truth = self.task.truth(data_samples, inputs.device)
        lesson = self.strategy(prediction, mentors, truth, self.task, losses)
        self.journal.add(lesson.statistics)
        return lesson.losses

    def _adapt_strategy(self) -> list[str]:
        """Fit the strategy to the feature maps it asks for; the student's stages that it reads."""
        ours, theirs = self.strategy.stages([mentor.name for mentor in self.bank])
        student = stage_channels(self.student, ours, 'model.student')
        mentors = [
            mentor.watch(stages, f'model.mentors[{index}]')
            for index, (mentor, stages) in enumerate(zip(self.bank, theirs))
        ]
        # As if nothing was drawn: the student's training is the same whatever learns beside it.
        with torch.random.fork_rng(devices=[]):
            self.strategy.adapt(student, mentors)
        return ours

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        # Mentors move with the model though they are no children.
        self.bank.apply(fn)
        return super()._apply(fn, *args, **kwargs)


def student_config(cfg: Config) -> Config:
    """The stock config of a classroom's student: what is left when the mentors go home.

    Args:
        cfg: Config of a classroom, or any other, which is returned as a copy.

    Returns:
        A copy whose ``model`` is the student and whose hooks are the stock ones. It runs in
        MMPose's and MMPretrain's own tools.
    """
    cfg = copy.deepcopy(cfg)
    if _name(cfg.model.get('type')).endswith(f'.{MultiMentorDistiller.__name__}'):
        cfg.model = cfg.model.student
        cfg.custom_hooks = [
            hook
            for hook in cfg.get('custom_hooks') or []
            if not _name(hook['type']).startswith('mmkd_classroom.')
        ]
    return cfg


def _name(kind: str | type) -> str:
    """A type as configs write it, also where a lazy config holds the class itself."""
    return kind if isinstance(kind, str) else f'{kind.__module__}.{kind.__qualname__}'


def _hoist_student(module: nn.Module, state_dict: dict, prefix: str, _: Any) -> dict:
    """Leave the student's entries alone in a state dict, without ``student.``."""
    _rename(state_dict, prefix + _STUDENT, prefix)
    metadata = getattr(state_dict, '_metadata', None)
    if metadata is not None:  # versions of modules; their keys have no trailing dot
        version = metadata.get(prefix + _STUDENT[:-1], {})
        _rename(metadata, prefix + _STUDENT, prefix)
        metadata[prefix[:-1]] = version
    return state_dict


def _rename(entries: dict, old: str, new: str) -> None:
    """Of the entries under ``new``, keep those under ``old`` and rename them."""
    for key in [key for key in entries if key.startswith(new)]:
        value = entries.pop(key)
        if key.startswith(old):
            entries[new + key[len(old) :]] = value


def _lower_student(module: nn.Module, state_dict: dict, prefix: str, *_: Any) -> None:
    """Undo :func:`_hoist_student` before a state dict is loaded."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[prefix + _STUDENT + key[len(prefix) :]] = state_dict.pop(key)
    # What the strategy has learned stays; it is saved and loaded apart.
    state_dict.update(module.strategy.state_dict(prefix=f'{prefix}strategy.'))
    metadata = getattr(state_dict, '_metadata', None)
    for key, value in list((metadata or {}).items()):
        metadata.setdefault((_STUDENT + key).rstrip('.'), value)
