"""The trained classroom on some of its training samples: who teaches what."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor

from ..checkpoints import load_weights, read_checkpoint
from ..distiller import Classroom
from ..errors import ClassroomError
from ..evaluation import preprocess
from ..hooks.joints import pack_input_joints
from ..hooks.strategy_state import load_strategy
from ..hub import model_config
from ..mentors.input_adapter import Normalisation
from ..structures import ClassTargets, JointTargets, StepOutput
from .run import Run

_BATCH = 32


@dataclass(frozen=True)
class SampleOutputs:
    """What the members of a classroom say of N samples, on the host. Member 0 is the student.

    Attributes:
        members: Names, the student's first.
        kind: ``'classes'`` or ``'keypoints'``.
        categories: Names of the classes or joints.
        images: N images ``(H, W, 3)``, uint8, RGB, as the student sees them.
        truth: Labels ``(N,)``, or joints ``(N, K, 2)`` in pixels of the image.
        labelled: ``(N, K)`` booleans; of a class always True.
        predicted: Predicted labels ``(M + 1, N)``, or joints ``(M + 1, N, K, 2)``.
        confidence: ``(M + 1, N)``: probability of the predicted class, or mean confidence of the
            joints.
        score: ``(M + 1, N)``, score of a sample by the ranker.
        item_score: ``(M + 1, N, K)``; NaN where an item has no label or the member no prediction.
        weight: ``(M, N, K)``: weight of each mentor; 0 where it does not teach.
        links: Pairs of joints to draw as limbs.
    """

    members: list[str]
    kind: str
    categories: list[str]
    images: list[np.ndarray]
    truth: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    score: np.ndarray
    item_score: np.ndarray
    weight: np.ndarray
    links: list[tuple[int, int]]

    @property
    def sample_weight(self) -> np.ndarray:
        """Mean weight of each mentor over the labelled items of a sample, ``(M, N)``."""
        count = np.maximum(self.labelled.sum(axis=-1), 1)
        return (self.weight * self.labelled).sum(axis=-1) / count

    @property
    def category_of(self) -> np.ndarray:
        """Index of the category of each item, ``(N, K)``."""
        if self.kind == 'classes':
            return self.truth[:, None]
        return np.broadcast_to(np.arange(len(self.categories)), self.labelled.shape)


def build_classroom(run: Run) -> tuple[Classroom, Any]:
    """Build the classroom of a training with its last checkpoint, and its training data.

    Args:
        run: A classroom's training.

    Returns:
        The classroom, prepared and in evaluation mode; the data set.

    Raises:
        ClassroomError: A checkpoint or a config does not exist any more, or does not fit.
    """
    cfg: Config = run.config
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = model_config(cfg)
    model.pop('cache', None)  # the mentors say it themselves
    classroom = MODELS.build(model)
    load_weights(classroom, run.checkpoint)
    names = classroom.mentors.names
    try:
        load_strategy(classroom.strategy, names, read_checkpoint(run.checkpoint), resume=True)
    except ClassroomError as error:
        raise ClassroomError(
            f'{run.checkpoint} was not trained with model.strategy = '
            f'{type(classroom.strategy).__name__} and these mentors. Correct the config in its '
            f'work directory. ({error})'
        ) from error
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    pack_input_joints(dataset)
    classroom.prepare([dataset[0]['data_samples']], getattr(dataset, 'metainfo', None))
    return classroom.to(get_device()).eval(), dataset


@torch.no_grad()
def run_on_samples(classroom: Classroom, dataset: Any, count: int) -> SampleOutputs:
    """Run a classroom on samples at equal distances, with the augmentation of its training.

    Args:
        classroom: See :func:`build_classroom`.
        dataset: Its training data.
        count: Number of samples.
    """
    # The same images in each report of a training.
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    images: list[np.ndarray] = []
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(indices), _BATCH):
        samples = [dataset[int(index)] for index in indices[start : start + _BATCH]]
        inputs, data_samples = preprocess(classroom, pseudo_collate(samples))
        step = classroom.distill(inputs, data_samples)
        parts.append({name: _host(value) for name, value in _arrays(step).items()})
        images += _images(inputs, classroom)
    first, samplewise = parts[0], {'truth', 'labelled'}
    whole = {
        name: np.concatenate([part[name] for part in parts], axis=0 if name in samplewise else 1)
        for name in first
    }
    metainfo = getattr(dataset, 'metainfo', None) or {}
    kind = classroom.adapter.kind
    return SampleOutputs(
        members=['student', *classroom.mentors.names],
        kind=kind,
        categories=_categories(classroom, metainfo),
        images=images,
        links=[tuple(link) for link in metainfo.get('skeleton_links', ())],
        **whole,
    )


def _arrays(step: StepOutput) -> dict[str, Tensor]:
    members = [step.student, *step.mentors]
    targets, scores = step.targets, step.scores
    labelled = targets.weights > 0  # (N, K)
    unknown = ~(labelled & scores.valid)
    weight = step.output.weights.expand_as(scores.item[1:])
    common = dict(
        labelled=labelled,
        score=scores.sample,
        item_score=scores.item.masked_fill(unknown, float('nan')),
        weight=weight.masked_fill(~scores.valid[1:], 0),
    )
    return {**common, **_predictions(members, targets)}


def _predictions(members: Sequence[Any], targets: Any) -> dict[str, Tensor]:
    if isinstance(targets, JointTargets):
        labelled = targets.weights
        return dict(
            truth=targets.joints,
            predicted=torch.stack([member.joints for member in members]),
            confidence=torch.stack([(m.confidences * labelled).sum(dim=-1) for m in members]),
        )
    assert isinstance(targets, ClassTargets)
    labels = targets.labels
    likely = torch.stack([m.logits[0][:, 0].softmax(dim=-1) for m in members])  # (M + 1, N, C)
    confidence, predicted = likely.max(dim=-1)
    truth = labels.argmax(dim=-1) if labels.ndim == 2 else labels
    return dict(truth=truth, predicted=predicted, confidence=confidence)


def _host(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _images(inputs: Tensor, classroom: Classroom) -> list[np.ndarray]:
    """Undo the normalisation. Images are RGB after it with all stock configs but Caffe's."""
    normal = Normalisation.of(classroom.data_preprocessor)
    mean, std = (
        torch.tensor(values, device=inputs.device).view(-1, 1, 1)
        for values in (normal.mean, normal.std)
    )
    pixels = (inputs.float() * std + mean).clamp(0, 255).round().byte()
    pixels = pixels.expand(-1, 3, -1, -1)  # grey images have one channel
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _categories(classroom: Classroom, metainfo: dict[str, Any]) -> list[str]:
    """Names of the classes or joints; their numbers if the data set does not name them."""
    if classroom.adapter.kind == 'classes':
        names, count = metainfo.get('classes'), classroom.adapter.num_classes
    else:
        names, count = metainfo.get('keypoint_id2name', {}).values(), classroom.adapter.num_items
    names = list(map(str, names or ()))
    return names if len(names) == count else [str(index) for index in range(count)]
