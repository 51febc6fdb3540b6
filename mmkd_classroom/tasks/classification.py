"""Classification with MMPretrain's ``ImageClassifier``."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mmengine
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import ClassroomError
from ..features import made_for
from ..functional import at_least_float32
from ..metainfo import class_names, image_size
from ..rankers import TrueClassRanker
from ..registry import TASK_UTILS
from ..structures import ClassTruth, Geometry, Prediction
from .base import Reader, Task, finite_part
from .classifiers import has_branches, num_classes, read_logits


@TASK_UTILS.register_module()
class ClassificationTask(Task):
    """Single-label classifiers whose head returns logits ``(N, C)``."""

    kind = 'classes'
    mentor_options = frozenset({'class_map'})

    def check_student(self, student: nn.Module) -> None:
        """The student must be a classifier with a loss on its logits."""
        classes = num_classes(student, 'model.student')
        head = getattr(student, 'head', None)
        if not isinstance(getattr(head, 'loss_module', None), nn.Module):
            what = 'no head' if head is None else f'a {type(head).__name__} without a loss_module'
            raise ClassroomError(
                f'model.student is a {type(student).__name__} with {what}: use ImageClassifier '
                'with a head such as LinearClsHead.'
            )
        _check_soft_labels(student.data_preprocessor, classes)

    def check_per_sample(self, student: nn.Module) -> None:
        """Try the loss: what it gives to three samples must have the mean that stock has."""
        loss = student.head.loss_module
        if not _splits(loss, self.per_sample, num_classes(student, 'model.student')):
            raise ClassroomError(
                f'model.student.head.loss is a {type(loss).__name__} that cannot be split into '
                "one loss a sample, which model.strategy.task_weight='score' weighs: use "
                "task_weight='one', or a loss of MMPretrain's with reduction='mean'."
            )

    def input_size(self, model: nn.Module, key: str) -> None:
        """No size that a classifier must have; see :meth:`usual_size`."""
        num_classes(model, key)

    def usual_size(self, model: nn.Module, config: Config) -> tuple[int, int] | None:
        """The size at which the config tests the model, else what its backbone says.

        A network is best at its own size, and many take no other. What tests it comes first: some
        of MMPretrain's transformers are built for 224 pixels and tested at 384.
        """
        return image_size(config) or made_for(model)

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
        classes, expected = num_classes(mentor, key), num_classes(student, 'model.student')
        branches = has_branches(mentor)
        if options.get('class_map') is not None:
            names = class_names(config)
            if names is not None and len(names) != classes:
                names = None  # of a data set that the mentor was not trained on
            indices = class_indices(options['class_map'], expected, classes, names, key)
            return ClassReader(indices, key, classes, branches)
        if classes != expected:
            raise ClassroomError(
                f'{key} knows {classes} classes, the student {expected} (head.num_classes): '
                f"choose a mentor trained on the student's classes, or give {key}.class_map, the "
                "mentor's class for each of the student's."
            )
        return ClassReader(None, key, classes, branches)

    def check_samples(self, data_samples: Sequence[Any], metainfo: dict | None = None) -> None:
        """Samples must have one label."""
        self.ranker = self.ranker or TrueClassRanker()
        sample = data_samples[0]
        if 'gt_label' not in sample and 'gt_score' not in sample:
            raise ClassroomError(
                'The training samples have no gt_label: check train_dataloader.dataset and the '
                "'PackInputs' of its pipeline."
            )
        labels = len(sample.gt_label) if 'gt_label' in sample else 1
        if labels != 1:
            raise ClassroomError(
                f'A training sample has {labels} labels (gt_label): a classroom needs one label a '
                'sample, so choose another train_dataloader.dataset.'
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
        return Prediction(read_logits(output, has_branches(student), 'model.student'))

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
        """MMPretrain's losses can leave out their reduction.

        Binary ones then have a value for each class, ``(N, C)``, of which stock sums those of a
        sample where the head gives ``avg_factor``.
        """

        def unreduced(*args: Any, avg_factor: Any = None, **kwargs: Any) -> Tensor:
            values = loss(*args, reduction_override='none', **kwargs)
            values = values.reshape(len(values), -1)
            if avg_factor is None:
                return values.mean(dim=1)
            return values.sum(dim=1) * (len(values) / avg_factor)

        return unreduced


class ClassReader(Reader):
    """Logits of the student's classes.

    Args:
        indices: The mentor's class for each of the student's; None where they are the same.
        key: The mentor's config key, such as ``model.mentors[0]``, for messages.
        classes: How many classes the mentor knows, where it is known.
        branches: See :func:`~mmkd_classroom.tasks.classifiers.has_branches`.
    """

    def __init__(
        self,
        indices: list[int] | None,
        key: str = 'A mentor',
        classes: int | None = None,
        branches: bool = False,
    ) -> None:
        self._key = key
        self._classes = classes
        self._branches = branches
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

    def __call__(self, output: Any) -> Prediction:
        """See :class:`Reader`."""
        logits = read_logits(output, self._branches, self._key, self._classes)
        (logits,), finite = finite_part([logits])
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
    if not isinstance(class_map, (Mapping, list, tuple)):
        raise ClassroomError(
            f'{where} is {class_map!r}: give a list, a dict or the path of a file.'
        )
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


def _check_soft_labels(preprocessor: nn.Module, classes: int) -> None:
    """Mixup and CutMix mix one-hot labels, which the data preprocessor makes."""
    said = getattr(preprocessor, 'num_classes', None)
    if getattr(preprocessor, 'to_onehot', False) and said != classes:
        raise ClassroomError(
            f'data_preprocessor.num_classes is {said}, but the student knows {classes} classes, '
            'and data_preprocessor.to_onehot or a batch augmentation such as Mixup makes one-hot '
            f'labels: write data_preprocessor=dict(num_classes={classes}, ...).'
        )


def _splits(loss: nn.Module, per_sample: Callable[..., Callable], classes: int) -> bool:
    """Whether the losses of samples have the mean that stock has, on labels that stock takes."""
    scores = torch.linspace(-2, 2, 3 * classes).view(classes, 3).t()
    hard = torch.arange(3) % classes
    soft = F.one_hot(hard, classes) * 0.7 + F.one_hot(hard.flip(0), classes) * 0.3
    for labels in (hard, soft):
        try:
            # On copies, as Seesaw counts what it sees.
            stock = copy.deepcopy(loss)(scores, labels, avg_factor=3).mean()
        except Exception:  # an assertion, or whatever torch says: the other labels are its own
            continue
        try:
            split = per_sample(copy.deepcopy(loss))(scores, labels, avg_factor=3)
        except Exception:  # no reduction_override, no sample dimension
            return False
        if split.shape != (3,) or not torch.allclose(split.mean(), stock, rtol=1e-4):
            return False
    return True
