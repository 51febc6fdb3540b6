"""Short real training runs of a classroom, and what must not change in them."""

from collections.abc import Iterable
from pathlib import Path

import torch
from fixtures import (
    write_class_config,
    write_class_dataset,
    write_classroom_config,
    write_pose_config,
    write_pose_dataset,
)
from mmengine.config import Config
from torch import Tensor

from mmkd_classroom.mentors import Mentor

WRITERS = dict(
    classes=(write_class_dataset, write_class_config),
    pose=(write_pose_dataset, write_pose_config),
    simcc=(write_pose_dataset, write_pose_config),
)
SIMCC = """
simcc = dict(
    type='SimCCLabel', input_size=(64, 64), sigma=(3.0, 3.0), simcc_split_ratio=2.0,
    normalize=False)
model['head'] = dict(
    type='SimCCHead', in_channels=64, out_channels=17, input_size=(64, 64),
    in_featuremap_size=(2, 2), deconv_out_channels=None,
    loss=dict(type='KLDiscretLoss', use_target_weight=True), decoder=simcc)
model['test_cfg'] = dict(flip_test=True)
train_pipeline[-2]['encoder'] = simcc
"""


def config(kind: str, folder: Path, extra: str = '', epochs: int = 10) -> Config:
    """A classroom of two untrained mentors with dropout and BatchNorm: two steps an epoch.

    Args:
        kind: ``'classes'``, ``'pose'`` (heatmaps) or ``'simcc'``.
        folder: Empty; config, data, weights and ``work`` go into it.
        extra: Text at the end of the student's config.
        epochs: Number of epochs.
    """
    write_dataset, write_config = WRITERS[kind]
    extra += SIMCC if kind == 'simcc' else ''
    base = write_config(
        folder / 'student.py', write_dataset(folder / 'data'), epochs=epochs, extra=extra
    )
    cfg = Config.fromfile(write_classroom_config(folder / 'classroom.py', base))
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = f'{kind}_{folder.name}'
    return cfg


def snapshot(mentors: Iterable[Mentor]) -> list[dict[str, Tensor]]:
    """Every parameter and buffer, also those that no state dict holds."""
    return [
        {
            name: tensor.detach().clone()
            for named in (mentor.model.named_parameters(), mentor.model.named_buffers())
            for name, tensor in named
        }
        for mentor in mentors
    ]


def assert_unchanged(mentors: Iterable[Mentor], before: list[dict[str, Tensor]]) -> None:
    """Bitwise the same as in the snapshot, still in evaluation mode, and without gradients."""
    for mentor, saved, now in zip(mentors, before, snapshot(mentors)):
        assert saved.keys() == now.keys()
        assert all(torch.equal(saved[name], now[name]) for name in saved), mentor.name
        assert not any(module.training for module in mentor.model.modules())
        assert all(parameter.grad is None for parameter in mentor.model.parameters())
