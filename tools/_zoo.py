"""Trial of one stock config for sweep_zoo.py: a stock step, and a step in each role."""

import copy
import random
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mmkd_classroom.command import read_config, set_mmpretrain_dataloaders
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hub import model_config
from mmkd_classroom.runner import pack_joints_in_config

STOCK, STUDENT, MENTOR, SMALLER = 'stock', 'student', 'mentor', 'mentor at 160 px'
ROLES = (STUDENT, MENTOR, SMALLER)
# Excluded configs of each package, with the reason.
EXCLUDED = {
    'mmpose': {r'^(body|hand)_3d_keypoint/': '3D poses and poses lifted from 2D'},
    'mmpretrain': {
        r'^(blip2?|chinese_clip|flamingo|llava|minigpt4|ofa|otter)/|zeroshot': 'images with text',
        r'/mask-rcnn': 'detectors',
    },
}
POSE_STUDENT = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'
)
CLASS_STUDENT = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
MOST_PARAMETERS = 150e6
_IMAGE = Path(__file__).resolve().parent.parent / 'docs' / 'demo.jpg'
_RECORDS = 4  # per data set: a mosaic needs four
_PATH = re.compile(r'(?<![\w:])/\S*/')


def examine(name: str, roles: Sequence[str], folder: Path) -> Iterator[tuple[str, str]]:
    """Try a stock config alone, then in each role.

    Args:
        name: ``package::path``.
        roles: Some of :data:`ROLES`.
        folder: Folder for the weights, which a mentor loads like any checkpoint.

    Yields:
        A role, first ``'stock'``, and its outcome: ``'ok'``, or a description of the problem.
    """
    trial = Trial(name, folder / 'weights.pth')
    yield STOCK, outcome(trial.alone, 'fails')
    attempts = {
        STUDENT: trial.as_student,
        MENTOR: trial.as_mentor,
        SMALLER: trial.as_mentor_of_smaller,
    }
    for role in roles:
        yield role, outcome(attempts[role])


def outcome(attempt: Callable[[], str | None], crash: str = 'CRASH') -> str:
    """Outcome of an attempt: its return value, ``'ok'`` for None, or its error as one line."""
    try:
        return attempt() or 'ok'
    except ClassroomError as error:
        return f'refused: {_first_sentence(error)}'
    except Exception as error:  # stock code raises various types
        traceback.print_exc()  # to the log of the config
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return 'skipped: more memory than --memory-limit'
        return f'{crash}: {type(error).__name__}: {_first_line(error)}'


def classroom(cfg: Config, mentors: list[dict[str, Any]]) -> Config:
    """Make the config of a classroom whose student is the model of a stock config.

    Args:
        cfg: The student's stock config.
        mentors: Entries of ``model.mentors``.
    """
    cfg = copy.deepcopy(cfg)
    pack_joints_in_config(cfg.train_dataloader)  # with a Runner, the classroom does this
    cfg.model = dict(type='mmkd_classroom.MultiMentorDistiller', student=cfg.model, mentors=mentors)
    return cfg


# --- the steps -----------------------------------------------------------------------------------


class Trial:
    """One stock config, with the results of its stock step for comparison.

    Args:
        name: ``package::path``.
        checkpoint: File for its weights.
    """

    def __init__(self, name: str, checkpoint: Path) -> None:
        self.name = name
        self._entry = dict(config=name, checkpoint=str(checkpoint))
        self._weights: dict[str, Tensor] = {}
        self._size = 224  # of a classifier's input
        self._stock: tuple[dict, dict] | None = None
        self._room: tuple[nn.Module, dict, Config] | Exception | None = None

    def alone(self) -> str | None:
        """Make a step of the stock model, unless a classroom does not accept it."""
        cfg = load(self.name)
        model = build(cfg)
        count = sum(p.numel() for p in model.parameters())
        if count > MOST_PARAMETERS:
            return f'skipped: {count / 1e6:.0f} M parameters'
        self._weights = copy.deepcopy(model.state_dict())
        torch.save(self._weights, self._entry['checkpoint'])
        if 'train_dataloader' not in cfg:
            return 'fails: the config has no train_dataloader'
        batch = generated_batch(cfg)
        first = batch['inputs'][0]
        self._size = first.shape[-1] if isinstance(first, Tensor) else self._size
        try:
            self._room = seated(classroom(cfg, [self._entry]))
        except Exception as error:
            self._room = error
            if isinstance(error, ClassroomError):
                return '–'
        self._stock = step(model, batch, cfg)
        return None

    def as_student(self) -> str | None:
        """Make a step as a student; own losses and learning rates must be those of stock."""
        refused = isinstance(self._room, ClassroomError)
        if not (self._stock or refused):
            return '–'
        if isinstance(self._room, Exception):
            raise self._room
        # As MMEngine loads: a SwinTransformerV2 keeps some buffers as they are. Weights that differ
        # would be seen in the losses.
        load_state_dict(self._room[0], self._weights)
        found = step(*self._room)
        self._room = None  # the next role needs the memory
        return difference(*self._stock, *found)

    def as_mentor(self, size: int | None = None) -> str | None:
        """Make a step of a small standard student with this config as the mentor."""
        if not self._weights:  # it cannot be built, or is too large
            return '–'
        cfg = load(self.name)
        if cfg.default_scope == 'mmpretrain':
            student = class_student(cfg, size or self._size)
        else:
            try:
                student = pose_student(cfg)
            except Exception as error:  # stock code raises various types
                return f'fails: no data set of the config can be built ({_first_line(error)})'
        step(*seated(classroom(student, [self._entry])))
        return None

    def as_mentor_of_smaller(self) -> str | None:
        """The same for a classifier with an input of 224 pixels and a student with 160."""
        fits = self.name.startswith('mmpretrain::') and self._size == 224
        return self.as_mentor(160) if fits else '–'


def difference(losses: dict, rates: dict, losses_now: dict, rates_now: dict) -> str | None:
    """Return the first difference between training in a classroom and stock training, or None."""
    for key, stock in losses.items():
        now = losses_now.get('loss_student' if key == 'loss' else key)
        if now is None:
            return f'DIFFERS: no {key} among {", ".join(losses_now)}'
        if not torch.equal(stock, now):
            return f'DIFFERS: {key} is {now.tolist()} for {stock.tolist()}'
    others = [key for key, rate in rates.items() if rates_now.get(key) != rate]
    if others:
        return (
            f'DIFFERS: learning rate or weight decay of {len(others)} of {len(rates)} parameters, '
            f'such as {others[0]}'
        )
    return None


def seated(cfg: Config) -> tuple[nn.Module, dict[str, Any], Config]:
    """Build a classroom, prepared as by ClassroomHook, and a batch."""
    model, batch = build(cfg), generated_batch(cfg)
    model.prepare(batch['data_samples'], generated_dataset(cfg).metainfo)
    return model, batch, cfg


def step(
    model: nn.Module, batch: dict[str, Any], cfg: Config
) -> tuple[dict[str, Tensor], dict[str, tuple]]:
    """Make one training step like MMEngine's loop.

    Returns:
        The losses, and each parameter's learning rate and weight decay.

    Raises:
        FloatingPointError: The total loss or a gradient is not finite.
    """
    optimizer = build_optim_wrapper(model, full_precision(cfg.optim_wrapper))
    _seed()
    model.train()
    data = model.data_preprocessor(batch, True)
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    optimizer.backward(total)
    named = dict(model.named_parameters())
    gradients = {key: p.grad for key, p in named.items() if p.grad is not None}
    wrong = [key for key, grad in gradients.items() if not grad.isfinite().all()]
    if wrong or not total.isfinite():
        raise FloatingPointError(
            f'loss {float(total)}, {len(wrong)} of {len(gradients)} gradients are not finite'
        )
    rates = {
        id(p): (group['lr'], group.get('weight_decay'))
        for group in optimizer.param_groups
        for p in group['params']
    }
    optimizer.step()
    return (
        {key: _flat(value) for key, value in losses.items() if 'loss' in key},
        {key: rates.get(id(p)) for key, p in named.items()},
    )


# --- configs -------------------------------------------------------------------------------------


def load(name: str) -> Config:
    """Load a stock config and set its default scope."""
    cfg = read_config(name)
    cfg.setdefault('default_scope', name.split('::')[0])  # missing for backbones without a head
    init_default_scope(cfg.default_scope)
    set_mmpretrain_dataloaders(cfg)
    return cfg


def kind_of(name: str) -> str:
    """Kind of a config: architecture, head, codec, loss, optimizer."""
    try:
        cfg = read_config(name)
    except Exception:  # reported when the config is tried
        return name
    model = cfg.get('model') or {}
    head = model.get('head') or {}
    parts = [model, model.get('backbone'), head]
    if isinstance(head, dict):
        parts += [head.get('decoder'), head.get('loss')]
    types = [part.get('type') if isinstance(part, dict) else None for part in parts]
    constructor = (cfg.get('optim_wrapper') or {}).get('constructor')
    return f'{types} {constructor}'


def build(cfg: Config) -> nn.Module:
    """Build the model of a config with random weights from a fixed seed."""
    _seed()
    return MODELS.build(model_config(cfg))


def full_precision(optim_wrapper: dict[str, Any]) -> dict[str, Any]:
    """Remove automatic mixed precision, which needs a GPU, from the config of an optimizer."""
    wrapper = dict(optim_wrapper)
    if wrapper.get('type') == 'AmpOptimWrapper':
        wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fp64'):
            wrapper.pop(key, None)
    return wrapper


def pose_student(mentor: Config) -> Config:
    """ResNet-18 with heatmaps at 256x192, for a mentor's data set and joints."""
    cfg = read_config(POSE_STUDENT)
    mentor = copy.copy(mentor)
    try:
        dataset = generated_dataset(mentor)
    except Exception:  # stock code raises various types
        # Some training data sets need files or classes that are not there. The validation data has
        # the same joints.
        mentor.train_dataloader = mentor.val_dataloader
        dataset = generated_dataset(mentor)
    cfg.model.backbone.depth = 18
    cfg.model.head.update(in_channels=512, out_channels=dataset.metainfo['num_keypoints'])
    cfg.train_dataloader = copy.deepcopy(mentor.train_dataloader)
    for node in _nodes(cfg.train_dataloader):
        node.pop('test_mode', None)
        node.pop('bbox_file', None)
    for dataset in _nodes(cfg.train_dataloader, data_mode='bottomup'):
        dataset['data_mode'] = 'topdown'
    outermost = cfg.train_dataloader.dataset
    while 'dataset' in outermost:
        outermost = outermost.dataset
    outermost.pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=cfg.codec.input_size),
        dict(type='GenerateTarget', encoder=cfg.codec),
        dict(type='PackPoseInputs'),
    ]
    return cfg


def class_student(mentor: Config, size: int) -> Config:
    """ResNet-18 at ``size`` pixels, for a mentor's number of classes."""
    cfg = read_config(CLASS_STUDENT)
    parts = (
        mentor.model.get('head'),
        mentor.model.get('backbone'),
        mentor.get('data_preprocessor'),
    )
    found = [part['num_classes'] for part in parts if part and 'num_classes' in part]
    classes = found[0] if found else 1000
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = classes
    for crop in _nodes(cfg.train_dataloader, 'RandomResizedCrop'):
        crop['scale'] = size
    set_mmpretrain_dataloaders(cfg)
    return cfg


# --- data ----------------------------------------------------------------------------------------


def generated_batch(cfg: Config) -> dict[str, Any]:
    """Two training samples: generated labels on one image, processed by the config's pipeline."""
    _seed()
    dataset = generated_dataset(cfg)
    collate = (cfg.train_dataloader.get('collate_fn') or {}).get('type', 'pseudo_collate')
    return FUNCTIONS.get(collate)([dataset[index] for index in range(2)])


def generated_dataset(cfg: Config) -> BaseDataset:
    """The config's training data set, with generated records instead of those on disk."""
    dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    for node in _nodes(dataset):
        kind = node['type']
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(None) as registry:
                kind = registry.get(kind)
        reads = isinstance(kind, type) and issubclass(kind, BaseDataset)
        if reads and not {'dataset', 'datasets'} & set(node):
            node['type'] = type(f'Generated{kind.__name__}', (_Generated, kind), {})
    return DATASETS.build(dataset)


class _Generated:
    """Mixin for the class of a data set that replaces its records."""

    def load_data_list(self) -> list[dict[str, Any]]:
        joints = self.metainfo.get('num_keypoints')
        if joints is None:
            return [self._picture(index % 2) for index in range(_RECORDS)]
        rng = np.random.default_rng(0)
        people = [_person(rng, joints, index) for index in range(_RECORDS)]
        group = self.data_mode == 'bottomup'
        return self._get_bottomup_data_infos(people, []) if group else people

    def _picture(self, label: int) -> dict[str, Any]:
        kind = type(self).__name__
        # CIFAR and MNIST hold their images in memory; other pipelines load the file.
        image = cv2.imread(str(_IMAGE))
        if 'MNIST' in kind:
            image = cv2.resize(image[..., 0], (28, 28))
        several = 'VOC' in kind or 'MultiLabel' in kind
        return dict(img=image, img_path=str(_IMAGE), gt_label=[label] if several else label)


def _person(rng: np.random.Generator, joints: int, index: int) -> dict[str, Any]:
    """Record of one person in a data set of MMPose's; the first joint is not labelled."""
    visible = np.ones((1, joints), np.float32)
    visible[0, 0] = 0
    return dict(
        img_id=index,
        img_path=str(_IMAGE),
        bbox=np.array([[60, 40, 260, 280]], np.float32),
        bbox_score=np.ones(1, np.float32),
        num_keypoints=joints - 1,
        keypoints=rng.uniform(70, 250, (1, joints, 2)).astype(np.float32),
        keypoints_visible=visible,
        area=np.array(25000, np.float32),
        iscrowd=0,
        segmentation=None,
        id=index,
        category_id=np.array(1),
        raw_ann_info=dict(area=25000.0),
    )


# --- helpers -------------------------------------------------------------------------------------


def _nodes(tree: Any, kind: str | None = None, **values: Any) -> Iterator[dict]:
    """All dicts with a ``type`` in a part of a config, filtered by type and values."""
    if isinstance(tree, dict):
        wanted = kind in (None, tree.get('type'))
        if 'type' in tree and wanted and values.items() <= {k: tree.get(k) for k in values}.items():
            yield tree
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return
    for branch in list(tree):
        yield from _nodes(branch, kind, **values)


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def _flat(losses: Any) -> Tensor:
    """A loss, or the losses of several stages, detached."""
    return torch.stack([loss.detach().double().mean() for loss in tree_leaves(losses)])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['']
    return _PATH.sub('', lines[0])[:200]


def _first_sentence(error: ClassroomError) -> str:
    return re.split(r'\. |\n', _PATH.sub('', str(error)))[0].rstrip('.')
