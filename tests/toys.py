"""Tiny stock models and samples in memory, for tests through the whole stack without a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CLASSES = 4
JOINTS = 17  # COCO's, so that its sigmas apply
INPUT_SIZE = (64, 96)  # width, height
HEATMAP_SIZE = (16, 24)

CODECS = dict(
    msra=dict(type='MSRAHeatmap', sigma=2),
    dark=dict(type='MSRAHeatmap', sigma=2, unbiased=True, blur_kernel_size=11),
    udp=dict(type='UDPHeatmap', sigma=2, blur_kernel_size=11),
    simcc=dict(type='SimCCLabel', sigma=(3.0, 4.0), simcc_split_ratio=2.0, normalize=False),
    smoothed=dict(
        type='SimCCLabel',
        smoothing_type='standard',
        label_smooth_weight=0.1,
        simcc_split_ratio=2.0,
    ),
    megvii=dict(type='MegviiHeatmap', kernel_size=11),
    offsets=dict(type='UDPHeatmap', heatmap_type='combined'),
    point=dict(type='RegressionLabel'),
    rle=dict(type='RegressionLabel'),
    integral=dict(type='IntegralRegressionLabel', sigma=2.0, normalize=True),
    dsnt=dict(type='IntegralRegressionLabel', sigma=2.0, normalize=True),
)


def codec(name: str = 'msra', input_size: tuple[int, int] = INPUT_SIZE) -> dict:
    """Config of a codec.

    Args:
        name: ``'msra'``, ``'dark'``, ``'udp'``, ``'megvii'``, ``'simcc'``, ``'smoothed'``,
            ``'offsets'``, ``'point'``, ``'rle'``, ``'integral'`` or ``'dsnt'``.
        input_size: Width and height of the input.
    """
    size = dict(input_size=input_size)
    if CODECS[name]['type'] not in ('SimCCLabel', 'RegressionLabel'):
        size['heatmap_size'] = tuple(pixels // 4 for pixels in input_size)
    return dict(CODECS[name], **size)


def classifier(width: int = 8, **head: Any) -> dict:
    """Config of a ResNet classifier for images of any size.

    Args:
        width: Channels of the first stage.
        head: Options of its ``LinearClsHead``.
    """
    loss = dict(type='CrossEntropyLoss', loss_weight=1.0)
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, base_channels=width, stem_channels=width),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            dict(type='LinearClsHead', num_classes=CLASSES, in_channels=8 * width, loss=loss),
            **head,
        ),
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor',
            num_classes=CLASSES,
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            to_rgb=True,
        ),
    )


def estimator(
    width: int = 8,
    codec_name: str = 'msra',
    input_size: tuple[int, int] = INPUT_SIZE,
    **head: Any,
) -> dict:
    """Config of a top-down estimator with a ResNet and the head of a codec.

    Args:
        width: Channels of the first stage.
        codec_name: See :func:`codec`.
        input_size: Width and height of its input.
        head: Options of its head.
    """
    coder = codec(codec_name, input_size)
    head_of = _HEADS.get(codec_name) or _HEADS[coder['type']]
    neck = dict(neck=dict(type='GlobalAveragePooling')) if codec_name in ('point', 'rle') else {}
    return dict(
        type='mmpose.TopdownPoseEstimator',
        backbone=dict(type='ResNet', depth=18, base_channels=width, stem_channels=width),
        **neck,
        head=dict(head_of(8 * width, coder), **head),
        test_cfg=dict(flip_test=False),
        data_preprocessor=dict(
            type='mmpose.PoseDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
    )


def _heatmap_head(channels: int, coder: dict) -> dict:
    return dict(
        type='HeatmapHead',
        in_channels=channels,
        out_channels=JOINTS,
        deconv_out_channels=(8, 8, 8),
        deconv_kernel_sizes=(4, 4, 4),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=coder,
    )


def _simcc_head(channels: int, coder: dict) -> dict:
    """RTMPose's head for Gaussian labels, and SimCC's own for smoothed ones."""
    common = dict(
        in_channels=channels,
        out_channels=JOINTS,
        input_size=coder['input_size'],
        in_featuremap_size=tuple(pixels // 32 for pixels in coder['input_size']),
        simcc_split_ratio=coder['simcc_split_ratio'],
        decoder=coder,
    )
    if coder.get('smoothing_type') == 'standard':
        loss = dict(type='KLDiscretLoss', use_target_weight=True)
        return dict(common, type='SimCCHead', loss=loss, deconv_out_channels=None)
    gau = dict(hidden_dims=16, s=16, expansion_factor=2, dropout_rate=0.0, drop_path=0.0,
               act_fn='SiLU', use_rel_bias=False, pos_enc=False)  # fmt: skip
    loss = dict(type='KLDiscretLoss', use_target_weight=True, beta=10.0, label_softmax=True)
    return dict(common, type='RTMCCHead', final_layer_kernel_size=3, gau_cfg=gau, loss=loss)


def _offset_head(channels: int, coder: dict) -> dict:
    loss = dict(type='CombinedTargetMSELoss', use_target_weight=True)
    return dict(_heatmap_head(channels, coder), out_channels=3 * JOINTS, loss=loss)


def _point_head(channels: int, coder: dict) -> dict:
    loss = dict(type='SmoothL1Loss', use_target_weight=True)
    return dict(
        type='RegressionHead', in_channels=channels, num_joints=JOINTS, loss=loss, decoder=coder
    )


def _rle_head(channels: int, coder: dict) -> dict:
    loss = dict(type='RLELoss', use_target_weight=True)
    return dict(_point_head(channels, coder), type='RLEHead', loss=loss)


def _integral_head(channels: int, coder: dict) -> dict:
    return dict(
        type='IntegralRegressionHead',
        in_channels=channels,
        in_featuremap_size=tuple(pixels // 32 for pixels in coder['input_size']),
        num_joints=JOINTS,
        deconv_out_channels=(8, 8, 8),
        loss=dict(type='SmoothL1Loss', use_target_weight=True),
        decoder=coder,
    )


def _dsnt_head(channels: int, coder: dict) -> dict:
    losses = [
        dict(type='SmoothL1Loss', use_target_weight=True),
        dict(type='KeypointMSELoss', use_target_weight=True),
    ]
    loss = dict(type='MultipleLossWrapper', losses=losses)
    return dict(_integral_head(channels, coder), type='DSNTHead', loss=loss)


_HEADS = dict(
    MSRAHeatmap=_heatmap_head,
    UDPHeatmap=_heatmap_head,
    MegviiHeatmap=_heatmap_head,
    SimCCLabel=_simcc_head,
    offsets=_offset_head,
    point=_point_head,
    rle=_rle_head,
    integral=_integral_head,
    dsnt=_dsnt_head,
)


def build(cfg: dict, seed: int = 0) -> nn.Module:
    """A stock model with weights, and statistics of its BatchNorms, that differ from a fresh one's.

    Stock heads start so small that every output is alike, which would hide what a test is after.
    """
    model = MODELS.build(cfg)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if 'linspace' in name or name.endswith(('.loc', '.cov', '.mask')):
                continue  # constants of integral regression and of RLE's flow
            if name.endswith(('running_mean', 'bias')):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith('running_var') or tensor.ndim == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
    return model


class _NumbersOnCPU(TorchFunctionMode):
    """What stock code reads while it builds a model lies on no meta device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.linspace, torch.arange):
            kwargs.setdefault('device', 'cpu')
        return function(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build stock models of full size without memory or time: only their shapes are left.

    Move what was built to ``'meta'`` before it runs.
    """
    with torch.device('meta'), _NumbersOnCPU():
        yield


def class_batch(size: int = 4, seed: int = 0, soft: bool = False) -> tuple[Tensor, list[Any]]:
    """Inputs ``(N, 3, 16, 16)``, as normalised, and samples with labels.

    Args:
        size: N.
        seed: Of the generator.
        soft: Give soft labels too, as mixup does.
    """
    from mmpretrain.structures import DataSample

    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 3, 16, 16, generator=generator)
    samples = []
    for label in torch.randint(CLASSES, (size,), generator=generator).tolist():
        sample = DataSample().set_gt_label(label)
        if soft:
            score = torch.rand(CLASSES, generator=generator)
            sample.set_gt_score(score / score.sum())
        samples.append(sample)
    return inputs, samples


def person(seed: int = 0, missing: int = 5) -> dict:
    """What MMPose's ``CocoDataset`` loads for a person: one image and its annotation.

    Args:
        seed: Of the generator.
        missing: Number of joints without a label.
    """
    generator = np.random.default_rng(seed)
    x, y = generator.uniform(10, 60, 2)
    w, h = generator.uniform(60, 120), generator.uniform(100, 160)
    joints = np.array([x, y]) + generator.uniform(0.05, 0.95, (1, JOINTS, 2)) * np.array([w, h])
    visible = np.ones((1, JOINTS), np.float32)
    visible[0, generator.permutation(JOINTS)[:missing]] = 0
    mirror = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    return dict(
        img=generator.integers(0, 256, (240, 200, 3), dtype=np.uint8),
        img_shape=(240, 200),
        ori_shape=(240, 200),
        bbox=np.array([[x, y, x + w, y + h]], np.float32),
        bbox_score=np.ones(1, np.float32),
        keypoints=joints.astype(np.float32),
        keypoints_visible=visible,
        raw_ann_info=dict(area=float(0.4 * w * h)),
        dataset_name='coco',
        flip_indices=mirror,
        id=seed,
        img_id=seed,
    )


def packed(record: dict, codec_name: str = 'msra', augment: bool = False, **pack: Any) -> dict:
    """The stock training pipeline, from a loaded record to ``inputs`` and ``data_samples``.

    Args:
        record: See :func:`person`.
        codec_name: See :func:`codec`.
        augment: Flip, scale and rotate at random (NumPy's global generator).
        pack: Options of ``PackPoseInputs``.
    """
    from mmpose.registry import TRANSFORMS

    pipeline = [dict(type='GetBBoxCenterScale')]
    if augment:
        pipeline += [dict(type='RandomFlip', prob=0.5), dict(type='RandomBBoxTransform')]
    pipeline += [
        dict(type='TopdownAffine', input_size=INPUT_SIZE, use_udp=codec_name in ('udp', 'offsets')),
        dict(type='GenerateTarget', encoder=codec(codec_name)),
        dict(type='PackPoseInputs', **dict(dict(pack_transformed=True), **pack)),
    ]
    for transform in pipeline:
        record = TRANSFORMS.build(transform)(record)
    return record


def pose_batch(
    size: int = 4, seed: int = 0, codec_name: str = 'msra', unlabelled: int = 1
) -> tuple[Tensor, list[Any]]:
    """Inputs ``(N, 3, 96, 64)``, as normalised, and samples.

    Args:
        size: N.
        seed: Of the generators.
        codec_name: See :func:`codec`.
        unlabelled: Number of samples, the last ones, without any labelled joint.
    """
    people = [
        person(100 * seed + i, missing=JOINTS if i >= size - unlabelled else 5) for i in range(size)
    ]
    records = [packed(record, codec_name) for record in people]
    inputs = torch.stack([record['inputs'].float() for record in records])
    return (inputs - 127) / 60, [record['data_samples'] for record in records]


SETTINGS = dict(
    classes=dict(
        model=classifier,
        batch=class_batch,
        ranker=dict(type='mmkd_classroom.TrueClassRanker'),
    ),
    pose=dict(
        model=estimator,
        batch=pose_batch,
        ranker=dict(type='mmkd_classroom.OKSRanker'),
    ),
)


def classroom_of(kind: str, mentors: int = 2, **strategy: Any) -> nn.Module:
    """A distiller whose members all give other outputs, the same in every call.

    Args:
        kind: ``'classes'`` or ``'pose'``.
        mentors: How many.
        strategy: Options of ``ClassroomKD``.
    """
    setting = SETTINGS[kind]
    distiller = MODELS.build(
        dict(
            type='mmkd_classroom.MultiMentorDistiller',
            student=build(setting['model']()),
            mentors=[dict(config=dict(model=setting['model'](16)), checkpoint=None)] * mentors,
            ranker=setting['ranker'],
            strategy=dict(dict(type='mmkd_classroom.ClassroomKD'), **strategy),
        )
    )
    for seed, mentor in enumerate(distiller.mentors):
        mentor.model.load_state_dict(build(setting['model'](16), seed=seed + 1).state_dict())
    distiller.prepare(setting['batch']()[1])
    return distiller


def total(distiller: nn.Module, inputs: Tensor, samples: list[Any]) -> Tensor:
    """The loss that is back-propagated."""
    return distiller.parse_losses(distiller(inputs, samples, mode='loss'))[0]


def gradient(distiller: nn.Module) -> Tensor:
    """All gradients, as one vector."""
    return torch.cat([p.grad.flatten() for p in distiller.parameters() if p.grad is not None])
