"""Classification with MMPretrain's ``ImageClassifier``."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import ClassroomError
from ..functional import at_least_float32
from ..metainfo import class_names
from ..registry import TASK_UTILS
from ..structures import ClassTruth, Geometry, Prediction
from .base import Reader, Task, finite_part


@TASK_UTILS.register_module()
class ClassificationTask(Task):
    """Single-label classifiers whose head returns logits ``(N, C)``."""

    kind = 'classes'
    mentor_options = frozenset({'class_map'})

    def check_student(self, student: nn.Module) -> None:
        """The student must be a classifier with a loss on its logits."""
        _check_classifier(student, 'model.student')
        if not isinstance(getattr(student.head, 'loss_module', None), nn.Module):
            raise ClassroomError(
                f'model.student.head is a {type(student.head).__name__} without a loss_module: '
                'use a head such as LinearClsHead.'
            )

    def input_size(self, model: nn.Module, key: str) -> None:
        """A classifier takes any size."""
        num_classes(model, key)

    def reader(
        self,
        mentor: nn.Module,
        student: nn.Module,
        key: str,
        config: Config,
        geometry: Geometry | None = None,
        **options: Any,
    ) -> 'ClassReader':
        """See :meth:`Task.reader`; the option is ``class_map``, see :func:`class_indices`."""
        classes, expected = num_classes(mentor, key), student.head.num_classes
        if options.get('class_map') is not None:
            names = class_names(config)
            if names is not None and len(names) != classes:
                names = None  # of a data set that the mentor was not trained on
            return ClassReader(
                class_indices(options['class_map'], expected, classes, names, key), key
            )
        if classes != expected:
            raise ClassroomError(
                f'{key} knows {classes} classes, the student {expected} (head.num_classes): '
                f"choose a mentor trained on the student's classes, or give {key}.class_map, the "
                "mentor's class for each of the student's."
            )
        return ClassReader(None, key)

    def check_samples(self, data_samples: Sequence[Any], metainfo: dict | None = None) -> None:
        """Samples must have a label."""
        sample = data_samples[0]
        if 'gt_label' not in sample and 'gt_score' not in sample:
            raise ClassroomError(
                'The training samples have no gt_label: check train_dataloader.dataset and the '
                "'PackInputs' of its pipeline."
            )

    def truth(self, data_samples: Sequence[Any], device: torch.device) -> ClassTruth:
        """Hard labels, or the soft ones of mixup and CutMix."""
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([sample.gt_score for sample in data_samples])
        else:
            labels = torch.cat([sample.gt_label for sample in data_samples])
        labels = labels.to(device, non_blocking=True)
        return ClassTruth(labels, torch.ones(len(labels), 1, device=device))

    def as_prediction(self, student: nn.Module, output: Tensor) -> Prediction:
        """Logits ``(N, C)``."""
        _check_logits(output, 'model.student')
        return Prediction(output)

    def judged(self, prediction: Prediction) -> Tensor:
        """The logits."""
        return at_least_float32(prediction.values.detach())

    def logits(self, prediction: Prediction) -> tuple[Tensor]:
        """One distribution over the classes, ``(N, 1, C)``."""
        return (at_least_float32(prediction.values)[:, None],)

    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Predicted scores and labels."""
        scores = self.judged(prediction).softmax(dim=-1)
        samples = copy.deepcopy(list(data_samples))
        for sample, score in zip(samples, scores):
            sample.set_pred_score(score).set_pred_label(score.argmax(keepdim=True))
        return samples

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """MMPretrain's losses can leave out their reduction."""

        def unreduced(*args: Any, avg_factor: Any = None, **kwargs: Any) -> Tensor:
            return loss(*args, reduction_override='none', **kwargs)

        return unreduced


class ClassReader(Reader):
    """Logits of the student's classes.

    Args:
        indices: The mentor's class for each of the student's; None where they are the same.
        key: The mentor's config key, such as ``model.mentors[0]``, for messages.
    """

    def __init__(self, indices: list[int] | None, key: str = 'A mentor') -> None:
        self._key = key
        self._indices = None if indices is None else torch.tensor(indices)

    @property
    def summary(self) -> str:
        """See :class:`Reader`."""
        if self._indices is None:
            return 'all classes'
        return f'all classes, by class_map ({len(self._indices)} of its own)'

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the indices."""
        self._indices = None if self._indices is None else function(self._indices)

    def __call__(self, output: Tensor) -> Prediction:
        """See :class:`Reader`."""
        _check_logits(output, self._key)
        (logits,), finite = finite_part([output])
        if self._indices is not None:
            logits = logits.index_select(1, self._indices)
        return Prediction(logits, valid=finite)


def class_indices(
    class_map: Any, classes: int, mentor_classes: int, names: Sequence[str] | None, key: str
) -> list[int]:
    """The mentor's class for each of the student's.

    Args:
        class_map: A list with an entry per class of the student, a dict ``{student's class:
            mentor's}``, or the path of a JSON or YAML file of one. Mentor's classes are indices or
            names.
        classes: Number of the student's classes.
        mentor_classes: Number of the mentor's.
        names: Names of the mentor's classes, where its data set gives them.
        key: The mentor's config key, such as ``model.mentors[0]``.

    Raises:
        ClassroomError: A class is unmapped, unknown or mapped to twice.
    """
    where = f'{key}.class_map'
    if isinstance(class_map, str):
        try:
            class_map = mmengine.load(class_map)
        except Exception as error:  # a different type for each format
            raise ClassroomError(f'{where} = {class_map!r} cannot be read: {error}') from error
    if not isinstance(class_map, Mapping):
        class_map = dict(enumerate(class_map))
    class_map = {int(ours): theirs for ours, theirs in class_map.items()}
    unmapped = [index for index in range(classes) if index not in class_map]
    unknown = sorted(set(class_map) - set(range(classes)))
    if unmapped or unknown:
        raise ClassroomError(
            f'{where} leaves out the classes {unmapped[:10]} of the student, and names '
            f'{unknown[:10]}, which it does not have: give one class of the mentor for each of '
            f'the {classes}.'
        )
    indices = []
    for ours in range(classes):
        theirs = class_map[ours]
        if names is not None and theirs in names:
            if list(names).count(theirs) > 1:
                raise ClassroomError(
                    f"{where}[{ours}] is {theirs!r}, a name of several of the mentor's classes: "
                    'give the index.'
                )
            theirs = list(names).index(theirs)
        if not isinstance(theirs, int) or not 0 <= theirs < mentor_classes:
            raise ClassroomError(
                f"{where}[{ours}] is {theirs!r}, which is none of the mentor's {mentor_classes} "
                'classes: give an index, or a name of the data set in its config.'
            )
        if theirs in indices:
            raise ClassroomError(
                f"{where} gives the mentor's class {theirs} to {indices.index(theirs)} and to "
                f'{ours}: its probability would count twice.'
            )
        indices.append(theirs)
    return indices


def _check_logits(output: Any, key: str) -> None:
    if not isinstance(output, Tensor) or output.ndim != 2:
        what = tuple(output.shape) if isinstance(output, Tensor) else f'a {type(output).__name__}'
        raise ClassroomError(
            f'{key} returned {what} instead of logits (N, C): its neck or head leaves more than '
            'one vector a sample.'
        )


def num_classes(model: nn.Module, key: str) -> int:
    """How many classes a classifier knows: one with a head, or a wrapped foreign network.

    MMPretrain's ``TimmClassifier`` and ``HuggingFaceClassifier`` have no head; their network says
    ``num_classes`` or ``num_labels``.

    Raises:
        ClassroomError: The model is no classifier that says it.
    """
    from mmpretrain.models import BaseClassifier

    network = getattr(model, 'model', None)
    said = (
        getattr(getattr(model, 'head', None), 'num_classes', None),
        getattr(network, 'num_classes', None),
        getattr(network, 'num_labels', None),
    )
    known = [classes for classes in said if isinstance(classes, int)]
    if not isinstance(model, BaseClassifier) or not known:
        raise ClassroomError(
            f'{key} is a {type(model).__name__}, but model.task is ClassificationTask: it takes '
            "MMPretrain's ImageClassifier with a classification head, TimmClassifier, "
            'HuggingFaceClassifier, or a BaseClassifier whose `model` has `num_classes`.'
        )
    return known[0]


def _check_classifier(model: nn.Module, key: str) -> None:
    from mmpretrain.models import BaseClassifier

    head = getattr(model, 'head', None)
    if not isinstance(model, BaseClassifier) or not hasattr(head, 'num_classes'):
        raise ClassroomError(
            f'{key} is a {type(model).__name__}, but model.task is ClassificationTask: it takes '
            "MMPretrain's ImageClassifier with a classification head."
        )
