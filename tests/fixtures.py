"""Small data sets in the stock formats, and small stock configs that train on them in a second."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

# COCO's person standing upright, in units of the body's height (17 joints; eyes at the top).
_STANDING = np.array(
    [
        [0.00, 0.08], [0.02, 0.06], [-0.02, 0.06], [0.05, 0.07], [-0.05, 0.07], [0.12, 0.20],
        [-0.12, 0.20], [0.16, 0.36], [-0.16, 0.36], [0.17, 0.50], [-0.17, 0.50], [0.08, 0.52],
        [-0.08, 0.52], [0.09, 0.74], [-0.09, 0.74], [0.09, 0.96], [-0.09, 0.96],
    ]
)  # fmt: skip


def write_pose_dataset(root: Path, num_images: int = 8, seed: int = 0) -> Path:
    """Write dots on noise as a COCO-keypoints data set.

    Args:
        root: Directory to write ``images/`` and ``train.json`` into.
        num_images: One person on each.
        seed: Of the generator.

    Returns:
        ``root``.
    """
    generator = np.random.default_rng(seed)
    (root / 'images').mkdir(parents=True)
    images, annotations = [], []
    for index in range(1, num_images + 1):
        picture = generator.integers(0, 80, (128, 96, 3), dtype=np.uint8)
        joints = _STANDING * 90 + np.array([48, 16]) + generator.normal(0, 3, (17, 2))
        for joint, (x, y) in enumerate(joints):
            cv2.circle(picture, (int(x), int(y)), 4, (15 * joint, 255 - 15 * joint, 200), -1)
        cv2.imwrite(str(root / 'images' / f'{index}.png'), picture)
        images.append(dict(id=index, file_name=f'{index}.png', height=128, width=96))
        keypoints = np.concatenate([joints, np.full((17, 1), 2)], axis=1)
        keypoints[index % 17] = 0  # each person has one joint without a label
        annotations.append(
            dict(
                id=index, image_id=index, category_id=1, iscrowd=0, num_keypoints=16,
                bbox=[12, 8, 72, 112], area=8064.0, keypoints=keypoints.round(2).ravel().tolist(),
            )
        )  # fmt: skip
    categories = [dict(id=1, name='person', keypoints=[], skeleton=[])]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'train.json').write_text(json.dumps(content))
    return root


def write_class_dataset(root: Path, num_images: int = 8, num_classes: int = 3) -> Path:
    """Write noise of one colour a class as ``root/CLASS/INDEX.png``.

    Returns:
        ``root``.
    """
    generator = np.random.default_rng(0)
    for index in range(num_images):
        label = index % num_classes
        picture = generator.integers(0, 120, (36, 36, 3), dtype=np.uint8)
        picture[..., label] += 120
        path = root / f'class_{label}' / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    return root


def write_config(path: Path, text: str, **values: Any) -> Path:
    """Write a config file, with ``NAME = value`` lines put before the text for its use."""
    head = ''.join(f'{name} = {value!r}\n' for name, value in values.items())
    path.write_text(head + text)
    return path


def write_pose_config(path: Path, data_root: Path, **values: Any) -> Path:
    """Write a config of a small ResNet with a heatmap head on :func:`write_pose_dataset`.

    Args:
        path: File to write.
        data_root: What :func:`write_pose_dataset` returned.
        values: ``epochs``, ``workers``, ``seed``, ``extra`` (text at the end of the file).
    """
    return _write(path, POSE, data_root, values)


def write_class_config(path: Path, data_root: Path, **values: Any) -> Path:
    """Write a config of a small classifier with dropout on :func:`write_class_dataset`.

    The arguments are those of :func:`write_pose_config`.
    """
    return _write(path, CLASSES, data_root, values)


def write_classroom_config(path: Path, base: Path, num_mentors: int = 2) -> Path:
    """Write the config of a classroom of untrained mentors for a student of this module.

    Args:
        path: File to write; the mentors' checkpoints are put beside it.
        base: The student's config, which is the mentors' as well.
        num_mentors: How many.
    """
    cfg = Config.fromfile(base)
    mentors = []
    for index in range(num_mentors):
        torch.manual_seed(index)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
        checkpoint = path.resolve().with_name(f'{path.stem}_mentor_{index}.pth')
        torch.save(model.state_dict(), checkpoint)
        mentors.append(dict(config=str(base), checkpoint=str(checkpoint), name=f'mentor_{index}'))
    path.write_text(CLASSROOM.format(base=base.name, mentors=mentors))
    return path


def _write(path: Path, text: str, data_root: Path, values: dict) -> Path:
    values = dict(dict(epochs=2, workers=0, seed=0, extra=''), **values)
    extra = values.pop('extra')
    return write_config(path, f'{text}\n{extra}\n', data_root=str(data_root), **values)


_COMMON = """
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=6),
                   dict(type='MultiStepLR', milestones=[3], gamma=0.5, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='CheckpointHook', interval=1))
randomness = dict(seed=seed)
auto_scale_lr = dict(base_batch_size=4)
load_from = None
resume = False
"""

POSE = """
_base_ = ['mmpose::_base_/default_runtime.py']
dataset_type, data_mode = 'CocoDataset', 'topdown'
codec = dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=1)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    head=dict(
        type='HeatmapHead', in_channels=64, out_channels=17, deconv_out_channels=(16, 16, 16),
        deconv_kernel_sizes=(4, 4, 4), loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True))
train_pipeline = [
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'), dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec), dict(type='PackPoseInputs')]
val_pipeline = [
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']), dict(type='PackPoseInputs')]
dataset = dict(
    type=dataset_type, data_root=data_root, data_mode=data_mode, ann_file='train.json',
    data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=4, num_workers=workers, persistent_workers=workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True, pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='PCKAccuracy', thr=0.2)
test_evaluator = val_evaluator
"""
POSE += _COMMON

CLASSES = """
_base_ = ['mmpretrain::_base_/default_runtime.py']
data_preprocessor = dict(
    num_classes=3, mean=[127.5, 127.5, 127.5], std=[60.0, 60.0, 60.0], to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='StackedLinearClsHead', num_classes=3, in_channels=64, mid_channels=[16],
              dropout_rate=0.5, loss=dict(type='CrossEntropyLoss', loss_weight=1.0), topk=(1,)))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=32, padding=2),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'), dict(type='PackInputs')]
val_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=32), dict(type='PackInputs')]
dataset = dict(type='CustomDataset', data_root=data_root)
train_dataloader = dict(
    batch_size=4, num_workers=workers, persistent_workers=workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
"""
CLASSES += _COMMON

CLASSROOM = """
_base_ = ['{base}']
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors={mentors})
custom_hooks = [
    *(_base_.get('custom_hooks') or []),
    dict(type='mmkd_classroom.MentoringHook', interval=1)]
"""
