"""Classification with MMPretrain's ``ImageClassifier``."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..functional import at_least_float32, kl_divergence
from ..registry import TASK_UTILS
from ..structures import ClassTruth, Prediction
from .base import Task


@TASK_UTILS.register_module()
class ClassificationTask(Task):
    """Single-label classifiers whose head returns logits ``(N, C)``."""

    kind = 'classes'

    def check_student(self, student: nn.Module) -> None:
        """The student must be a classifier with a loss on its logits."""
        _check_classifier(student, 'model.student')
        if not isinstance(getattr(student.head, 'loss_module', None), nn.Module):
            raise ClassroomError(
                f'model.student.head is a {type(student.head).__name__} without a loss_module: '
                'use a head such as LinearClsHead.'
            )

    def check_mentor(self, mentor: nn.Module, student: nn.Module, key: str) -> None:
        """A mentor must be a classifier with the student's number of classes."""
        _check_classifier(mentor, key)
        classes, expected = mentor.head.num_classes, student.head.num_classes
        if classes != expected:
            raise ClassroomError(
                f'{key} knows {classes} classes, the student {expected} '
                f"(head.num_classes): choose a mentor trained on the student's classes."
            )

    def check_samples(self, data_samples: Sequence[Any]) -> None:
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

    def as_prediction(self, model: nn.Module, output: Tensor) -> Prediction:
        """Logits ``(N, C)``."""
        return Prediction(output)

    def judged(self, prediction: Prediction) -> Tensor:
        """The logits."""
        return at_least_float32(prediction.values.detach())

    def divergence(
        self,
        student: Prediction,
        mentor: Prediction,
        temperature: Tensor,
        student_temperature: Tensor | None = None,
    ) -> Tensor:
        """KL over the classes, ``(N, 1)``."""
        return kl_divergence(
            student.values[:, None], mentor.values[:, None], temperature, student_temperature
        )

    def peak(self, prediction: Prediction) -> Tensor:
        """Greatest logit, ``(N, 1)``."""
        return self.judged(prediction).amax(dim=-1, keepdim=True)

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """MMPretrain's losses can leave out their reduction."""

        def unreduced(*args: Any, avg_factor: Any = None, **kwargs: Any) -> Tensor:
            return loss(*args, reduction_override='none', **kwargs)

        return unreduced


def _check_classifier(model: nn.Module, key: str) -> None:
    from mmpretrain.models import BaseClassifier

    head = getattr(model, 'head', None)
    if not isinstance(model, BaseClassifier) or not hasattr(head, 'num_classes'):
        raise ClassroomError(
            f'{key} is a {type(model).__name__}, but model.task is ClassificationTask: it takes '
            "MMPretrain's ImageClassifier with a classification head."
        )
