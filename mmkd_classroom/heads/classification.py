"""Head adapter for MMPretrain's classifiers: one label per sample, logits ``(N, C)``."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import ClassroomError
from ..features import expected_input_size
from ..functional import finite_samples
from ..metainfo import class_names, image_size
from ..registry import TASK_UTILS
from ..structures import ClassTargets, Letterbox, MentorOutput, Prediction
from .base import HeadAdapter, OutputAdapter, StockLoss
from .capture import captured_loss
from .class_map import class_indices, compare_classes
from .classifiers import has_branches, num_classes, read_logits


@TASK_UTILS.register_module()
class ClassificationAdapter(HeadAdapter):
    """Single-label classifiers whose head returns logits ``(N, C)``.

    Args:
        model: See :class:`HeadAdapter`.
        key: See :class:`HeadAdapter`.
        config: See :class:`HeadAdapter`.

    Attributes:
        num_classes: C.
        names: Names of the classes, or None if the config's data set has none.
        soft_labels: Whether the training labels are soft, due to mixup or CutMix.
    """

    kind = 'classes'
    takes = "MMPretrain's ImageClassifier; as mentors also TimmClassifier and HuggingFaceClassifier"
    mentor_options = frozenset({'class_map'})

    @classmethod
    def accepts(cls, model: nn.Module) -> bool:
        """Accept any model of MMPretrain's. The constructor raises if it is not a classifier."""
        return any(base.__module__.startswith('mmpretrain.') for base in type(model).__mro__)

    def __init__(self, model: nn.Module, key: str, config: Config | None = None) -> None:
        self.key = key
        self.num_classes = num_classes(model, key)
        self.summary = f'{self.num_classes} classes'
        self.soft_labels = bool(getattr(model.data_preprocessor, 'to_onehot', False))
        self._branches = has_branches(model)
        names = class_names(config) if config is not None else None
        # Another number of names means that the model was trained on another data set.
        self.names = names if names is not None and len(names) == self.num_classes else None
        if config is not None:
            # A network works best at its own size, and many accept no other. The test pipeline
            # comes first: some of MMPretrain's transformers are built for 224 pixels and tested at
            # 384.
            self.usual_size = image_size(config) or expected_input_size(model)

    def check_student(self, student: nn.Module, per_sample: bool) -> None:
        """Check that the head has a loss, and that it can be computed per sample if needed."""
        head = getattr(student, 'head', None)
        loss = getattr(head, 'loss_module', None)
        if not isinstance(loss, nn.Module):
            what = 'no head' if head is None else f'a {type(head).__name__} without a loss_module'
            raise ClassroomError(
                f'model.student is a {type(student).__name__} with {what}: use ImageClassifier '
                'with a head such as LinearClsHead.'
            )
        _check_soft_labels(student.data_preprocessor, self.num_classes)
        if per_sample and not _splits(loss, self.num_classes):
            raise ClassroomError(
                f'model.student.head.loss is a {type(loss).__name__} that cannot be split into '
                "one loss a sample, which model.strategy.task_weight='score' weighs: use "
                "task_weight='one', or a loss of MMPretrain's with reduction='mean'."
            )

    def check_samples(
        self, data_samples: Sequence[Any], metainfo: dict | None = None
    ) -> dict | None:
        """Check that samples have one label."""
        sample = data_samples[0]
        if 'gt_label' not in sample and 'gt_score' not in sample:
            raise ClassroomError(
                'The training samples have no gt_label: check train_dataloader.dataset and the '
                "'PackInputs' of its pipeline."
            )
        labels = len(sample.gt_label) if 'gt_label' in sample else 1
        if labels != 1:
            raise ClassroomError(_one_label(labels))
        return metainfo

    def loss(
        self,
        student: nn.Module,
        stock_loss: StockLoss,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool = False,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """See :meth:`HeadAdapter.loss`."""
        output, losses = captured_loss(
            student.head, stock_loss, inputs, data_samples, _per_sample if per_sample else None
        )
        return self.prediction(*self.read(output)), losses

    def targets(self, data_samples: Sequence[Any], device: torch.device) -> ClassTargets:
        """Hard labels, or the soft labels of mixup and CutMix."""
        if 'gt_score' in data_samples[0]:
            labels = torch.stack([sample.gt_score for sample in data_samples])
        else:
            labels = torch.cat([sample.gt_label for sample in data_samples])
        if len(labels) != len(data_samples):
            raise ClassroomError(_one_label(max(len(sample.gt_label) for sample in data_samples)))
        labels = labels.to(device, non_blocking=True)
        return ClassTargets(labels, torch.ones(len(labels), 1, device=device))

    def read(self, output: Any) -> tuple[Tensor]:
        """Logits ``(N, 1, C)``."""
        logits = read_logits(output, self._branches, self.key, self.num_classes)
        return (logits[:, None],)

    @staticmethod
    def prediction(logits: Tensor, valid: Tensor | None = None) -> Prediction:
        """Build a prediction from logits ``(N, 1, C)``; ``valid`` is ``(N, 1)``, default all."""
        if valid is None:
            valid = logits.new_ones(len(logits), 1, dtype=torch.bool)
        return Prediction((logits,), factor=1.0, scales=(1.0,), valid=valid)

    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Copy the samples with predicted scores and labels."""
        scores = prediction.logits[0][:, 0].softmax(dim=-1)
        samples = copy.deepcopy(list(data_samples))
        for sample, score in zip(samples, scores):
            sample.set_pred_score(score).set_pred_label(score.argmax(keepdim=True))
        return samples

    def output_adapter(
        self,
        mentor: 'ClassificationAdapter',
        letterbox: Letterbox | None = None,
        class_map: Any = None,
    ) -> 'ClassOutputAdapter':
        """See :meth:`HeadAdapter.output_adapter`; for ``class_map`` see :func:`class_indices`."""
        return ClassOutputAdapter(mentor, self, class_map)


class ClassOutputAdapter(OutputAdapter):
    """Select the logits of the student's classes from a mentor's output.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        class_map: The mentor's class for each class of the student; None if they are the same.

    Raises:
        ClassroomError: The numbers of classes differ and there is no map, or the map is wrong.
    """

    def __init__(
        self, mentor: ClassificationAdapter, student: ClassificationAdapter, class_map: Any = None
    ) -> None:
        self._mentor, self._student = mentor, student
        self._indices = None  # None if the classes are the same
        self.summary = 'all classes'
        ours, theirs = student.num_classes, mentor.num_classes
        if class_map is not None:
            indices = class_indices(class_map, ours, theirs, mentor.names, mentor.key)
            self._indices = torch.tensor(indices)
            self.summary = f'all classes, by class_map ({len(indices)} of its own)'
        elif theirs != ours:
            raise ClassroomError(
                f'{mentor.key} knows {theirs} classes, the student {ours} (head.num_classes): '
                f"choose a mentor trained on the student's classes, or give {mentor.key}.class_map,"
                " the mentor's class for each of the student's."
            )

    def prepare(self, metainfo: dict | None) -> None:
        """Compare the names of the classes.

        Args:
            metainfo: Of the student's data set; None if not known.

        Raises:
            ClassroomError: A name is that of two classes, one of the mentor and another one of the
                student.
        """
        ours, theirs = (metainfo or {}).get('classes'), self._mentor.names
        if self._indices is None and ours is not None and theirs is not None:
            compare_classes(tuple(ours), tuple(theirs), self._mentor.key)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the indices."""
        self._indices = None if self._indices is None else function(self._indices)

    def read(self, output: Any) -> MentorOutput:
        """See :class:`OutputAdapter`."""
        (logits,), finite = finite_samples(self._mentor.read(output))
        if self._indices is not None:
            logits = logits.index_select(-1, self._indices)
        return MentorOutput((logits,), finite)

    def predict(self, output: MentorOutput) -> Prediction:
        """See :class:`OutputAdapter`."""
        return self._student.prediction(output.values[0], output.finite[:, None])

    def settings(self) -> dict[str, Any]:
        """See :class:`OutputAdapter`."""
        return dict(classes=None if self._indices is None else self._indices.tolist())


def _one_label(labels: int) -> str:
    return (
        f'A training sample has {labels} labels (gt_label): a classroom needs one label a sample, '
        'so choose another train_dataloader.dataset.'
    )


def _per_sample(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make one of MMPretrain's losses return ``(N,)``, by ``reduction_override='none'``.

    Binary losses then return ``(N, C)``. The values of a sample are summed if the head passes
    ``avg_factor``, as in the stock loss, and averaged otherwise.
    """

    def unreduced(*args: Any, avg_factor: Any = None, **kwargs: Any) -> Tensor:
        values = loss(*args, reduction_override='none', **kwargs)
        values = values.reshape(len(values), -1)
        if avg_factor is None:
            return values.mean(dim=1)
        return values.sum(dim=1) * (len(values) / avg_factor)

    return unreduced


def _check_soft_labels(preprocessor: nn.Module, classes: int) -> None:
    """Check ``num_classes`` of the data preprocessor, which makes one-hot labels for mixup."""
    said = getattr(preprocessor, 'num_classes', None)
    if getattr(preprocessor, 'to_onehot', False) and said != classes:
        raise ClassroomError(
            f'data_preprocessor.num_classes is {said}, but the student knows {classes} classes, '
            'and data_preprocessor.to_onehot or a batch augmentation such as Mixup makes one-hot '
            f'labels: write data_preprocessor=dict(num_classes={classes}, ...).'
        )


def _splits(loss: nn.Module, classes: int) -> bool:
    """Whether the per-sample losses of three samples have the mean of the stock loss.

    Tested with hard and with soft labels; labels that the stock loss does not accept are skipped.
    A loss that accepts neither is not known to split.
    """
    scores = torch.linspace(-2, 2, 3 * classes).view(classes, 3).t()
    hard = torch.arange(3) % classes
    soft = F.one_hot(hard, classes) * 0.7 + F.one_hot(hard.flip(0), classes) * 0.3
    tested = False
    for labels in (hard, soft):
        try:
            # On copies, because Seesaw loss counts samples.
            stock = copy.deepcopy(loss)(scores, labels, avg_factor=3).mean()
        except Exception:  # the loss accepts only the other kind of labels
            continue
        try:
            split = _per_sample(copy.deepcopy(loss))(scores, labels, avg_factor=3)
        except Exception:  # no reduction_override, no sample dimension
            return False
        if split.shape != (3,) or not torch.allclose(split.mean(), stock, rtol=1e-4):
            return False
        tested = True
    return tested
