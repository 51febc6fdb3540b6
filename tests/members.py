"""Predictions of a whole classroom made up in memory, in float64, for the tests of strategies."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel
from torch import Tensor, nn

from mmkd_classroom.divergences import Divergence, KLDivergence
from mmkd_classroom.functional import item_weights
from mmkd_classroom.heads import (
    ClassificationAdapter,
    HeatmapAdapter,
    KeypointAdapter,
    SimCCAdapter,
)
from mmkd_classroom.rankers import OKSRanker, Ranker, TrueClassRanker
from mmkd_classroom.strategies import Strategy
from mmkd_classroom.structures import ClassTargets, DistillOutput, JointTargets, Prediction, Targets

KINDS = ['classes', 'heatmap', 'simcc']
JOINTS = 3
SIGMAS = [0.0625, 0.125, 0.25]  # exact in float32, which the ranker keeps them in
SHARPNESS = 10.0
INPUT_SIZE = (32, 40)
BETA = 2.0


def keypoint_adapter(
    kind: type[KeypointAdapter], codec: Any, joints: int, sharpness: float = SHARPNESS
) -> KeypointAdapter:
    """The adapter of a head that has a codec and nothing else."""
    model = nn.Module()
    model.head = nn.Module()
    model.head.decoder = codec
    model.head.out_channels = joints
    model.head.loss_module = SimpleNamespace(beta=BETA)
    return kind(model, 'model.student', sharpness=sharpness)


ADAPTERS = dict(
    heatmap=keypoint_adapter(
        HeatmapAdapter, MSRAHeatmap(input_size=INPUT_SIZE, heatmap_size=(8, 10), sigma=2), JOINTS
    ),
    simcc=keypoint_adapter(
        SimCCAdapter, SimCCLabel(input_size=INPUT_SIZE, simcc_split_ratio=1.0), JOINTS
    ),
)


def prediction(adapter: KeypointAdapter | None, *values: Tensor) -> Prediction:
    """The prediction of values ``(N, K, ...)``, or, without an adapter, of logits ``(N, C)``."""
    if adapter is None:
        return ClassificationAdapter.prediction(values[0][:, None])
    return adapter.prediction(values, *adapter.decode(tuple(value.detach() for value in values)))


@dataclass
class Room:
    """A classroom without networks.

    Attributes:
        members: The student and M mentors.
        targets: Of poses, the last sample has no label.
        ranker: Scores them.
        divergence: Compares them.
    """

    members: list[Prediction]
    targets: Targets
    ranker: Ranker
    divergence: Divergence

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
        return [leaf.requires_grad_() for leaf in self.student.values]

    def change(self, member: int, valid: Tensor | None = None, **changes: Any) -> None:
        """Change a member; ``valid`` may be anything that expands to ``(N, K)``."""
        if valid is not None:
            changes['valid'] = valid.expand(self.targets.weights.shape)
        self.members[member] = replace(self.members[member], **changes)

    def output(self, strategy: Strategy, losses: dict[str, Tensor] | None = None) -> DistillOutput:
        """What a strategy makes of it."""
        scores = self.ranker(self.members, self.targets)
        return strategy(
            self.student, self.mentors, scores, self.targets, self.divergence, losses or {}
        )


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
        targets = ClassTargets(labels, torch.ones(samples, 1, dtype=torch.float64))
        members = [prediction(None, values) for values in 2 * random(6)]
        return Room(members, targets, TrueClassRanker(), KLDivergence())
    targets = _joints(samples, generator)
    if kind == 'heatmap':
        values = zip(random(JOINTS, 10, 8, of=torch.rand))
    else:
        values = zip(random(JOINTS, 32), random(JOINTS, 40))
    members = [prediction(ADAPTERS[kind], *each) for each in values]
    return Room(members, targets, OKSRanker(SIGMAS), KLDivergence())


def _joints(samples: int, generator: torch.Generator) -> JointTargets:
    labelled = torch.randint(3, (samples, JOINTS), generator=generator).double()
    labelled[0] = 1
    labelled[-1] = 0
    joints = torch.rand(samples, JOINTS, 2, dtype=torch.float64, generator=generator)
    return JointTargets(
        joints=joints * torch.tensor(INPUT_SIZE),
        weights=item_weights(labelled),
        area=torch.full((samples,), 400.0, dtype=torch.float64),
        bbox_size=torch.full((samples,), 30.0, dtype=torch.float64),
        head_size=torch.zeros(samples, dtype=torch.float64),
    )


def fields(kind: str, prediction: Prediction, i: int, k: int) -> list[Tensor]:
    """The logits of one item, of each of its distributions: what the formulas start from."""
    factor = dict(classes=1.0, heatmap=SHARPNESS, simcc=BETA)[kind]
    return [factor * values[i, k].flatten() for values in prediction.values]


def scale(kind: str, samples: int, cells: int) -> float:
    """The head's factor of a divergence."""
    return dict(classes=1.0, heatmap=1 / cells, simcc=samples / cells)[kind]


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Softmax by its definition."""
    exponentials = torch.exp(logits / temperature)
    return exponentials / exponentials.sum()


def nll(room: Room, member: int, i: int, k: int) -> float:
    """``-log`` of the score of one item, by its definition."""
    prediction = room.members[member]
    if isinstance(room.targets, ClassTargets):
        return -math.log(softened(prediction.values[0][i, 0], 1)[room.targets.labels[i]])
    decoded = prediction.joints[i, k]  # decoding has its own tests
    squared = (decoded - room.targets.joints[i, k]).square().sum().item()
    return squared / (2 * 400.0 * (2 * SIGMAS[k]) ** 2)
