"""Predictions of a whole classroom made up in memory, in float64, for the tests of strategies."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel
from torch import Tensor

from mmkd_classroom.functional import item_weights
from mmkd_classroom.rankers import OKSRanker, TrueClassRanker
from mmkd_classroom.structures import ClassTruth, KeypointTruth, Prediction
from mmkd_classroom.tasks import ClassificationTask, HeatmapTask, SimCCTask, Task
from mmkd_classroom.tasks.forms import HeatmapForm, SimCCForm

KINDS = ['classes', 'heatmap', 'simcc']
JOINTS = 3
SIGMAS = [0.0625, 0.125, 0.25]  # exact in float32, which the ranker keeps them in
SHARPNESS = 10.0
INPUT_SIZE = (32, 40)
MSRA = HeatmapForm(MSRAHeatmap(input_size=INPUT_SIZE, heatmap_size=(8, 10), sigma=2))
SIMCC = SimCCForm(SimCCLabel(input_size=INPUT_SIZE, simcc_split_ratio=1.0), beta=2.0)


@dataclass
class Room:
    """A classroom without networks.

    Attributes:
        task: Its task.
        members: The student and M mentors.
        truth: As ``task.truth`` gives it; of poses, the last sample has no label.
    """

    task: Task
    members: list[Prediction]
    truth: Any

    @property
    def student(self) -> Prediction:
        """The first member."""
        return self.members[0]

    @property
    def mentors(self) -> list[Prediction]:
        """The others."""
        return self.members[1:]

    def leaves(self) -> list[Tensor]:
        """The student's values, from now on with a gradient."""
        values = self.student.values
        leaves = [values] if isinstance(values, Tensor) else list(values)
        return [leaf.requires_grad_() for leaf in leaves]


def room(kind: str, mentors: int = 3, samples: int = 5, seed: int = 0) -> Room:
    """A classroom of random members.

    Args:
        kind: One of :data:`KINDS`.
        mentors: M.
        samples: N.
        seed: Of the generator.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, of: Any = torch.randn) -> Tensor:
        return of(mentors + 1, samples, *shape, dtype=torch.float64, generator=generator)

    if kind == 'classes':
        labels = torch.randint(6, (samples,), generator=generator)
        truth = ClassTruth(labels, torch.ones(samples, 1, dtype=torch.float64))
        members = [Prediction(values) for values in 2 * random(6)]
        return Room(ClassificationTask(TrueClassRanker()), members, truth)
    truth = _joints(samples, generator)
    ranker = OKSRanker(SIGMAS)
    if kind == 'heatmap':
        members = [Prediction(values, MSRA) for values in random(JOINTS, 10, 8, of=torch.rand)]
        return Room(HeatmapTask(ranker, sharpness=SHARPNESS), members, truth)
    axes = zip(random(JOINTS, 32), random(JOINTS, 40))
    return Room(SimCCTask(ranker), [Prediction(values, SIMCC) for values in axes], truth)


def _joints(samples: int, generator: torch.Generator) -> KeypointTruth:
    labelled = torch.randint(3, (samples, JOINTS), generator=generator).double()
    labelled[0] = 1
    labelled[-1] = 0
    joints = torch.rand(samples, JOINTS, 2, dtype=torch.float64, generator=generator)
    return KeypointTruth(
        joints=joints * torch.tensor(INPUT_SIZE),
        weights=item_weights(labelled),
        area=torch.full((samples,), 400.0, dtype=torch.float64),
        bbox_size=torch.full((samples,), 30.0, dtype=torch.float64),
        head_size=None,
        metainfo=None,
    )


def fields(kind: str, prediction: Prediction, i: int, k: int) -> list[Tensor]:
    """The logits of one item, of each of its distributions: what the formulas start from."""
    if kind == 'classes':
        return [prediction.values[i]]
    if kind == 'heatmap':
        return [SHARPNESS * prediction.values[i, k].flatten()]
    return [SIMCC.beta * axis[i, k] for axis in prediction.values]


def scale(kind: str, samples: int, cells: int) -> float:
    """The task's factor of a divergence."""
    return dict(classes=1.0, heatmap=1 / cells, simcc=samples / cells)[kind]


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Softmax by its definition."""
    exponentials = torch.exp(logits / temperature)
    return exponentials / exponentials.sum()


def surprise(room: Room, member: int, i: int, k: int) -> float:
    """``-log`` of the score of one item, by its definition."""
    prediction = room.members[member]
    if isinstance(room.truth, ClassTruth):
        return -math.log(softened(prediction.values[i], 1)[room.truth.labels[i]])
    decoded = room.task.judged(prediction)[i, k]  # decoding has its own tests
    squared = (decoded - room.truth.joints[i, k]).square().sum().item()
    return squared / (2 * 400.0 * (2 * SIGMAS[k]) ** 2)
