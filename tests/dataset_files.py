"""Tiny data sets in the genuine formats and folders that the configs read."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.coco import write_data_set

CIFAR10 = (
    'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck',
)  # fmt: skip


def write_all(root: Path) -> Path:
    """Write ``root/data/`` with all data sets that the configs read, a few images each.

    Returns:
        ``root``: in it, a config's relative paths are right as they are.
    """
    data = root / 'data'
    write_coco(data / 'coco')
    write_mpii(data / 'mpii')
    write_lspet(data / 'lspet')
    write_imagenet(data / 'imagenet')
    write_cifar10(data / 'cifar10')
    write_cifar100(data / 'cifar100')
    write_data_set(data / 'demo', 2, 2, seed=0)
    return root


def write_coco(root: Path) -> None:
    """COCO 2017: one person an image, and a crowd, which is no person to train on."""
    images, annotations = [], []
    for index in (1, 2):
        name = f'{index:012d}.jpg'
        _write_image(root / 'train2017' / name, 160, 120, seed=index)
        images.append(
            dict(
                id=index, file_name=name, height=160, width=120, license=1,
                coco_url='', flickr_url='', date_captured='2013-11-14 17:02:52',
            )
        )  # fmt: skip
        person = _person(17, box=(20, 10, 80, 140), seed=index, missing=3)
        person.update(id=index, image_id=index, segmentation=[[20, 10, 100, 10, 100, 150]])
        annotations.append(person)
    crowd = dict(annotations[0], id=9, iscrowd=1, num_keypoints=0, keypoints=[0] * 51)
    crowd['segmentation'] = dict(counts=[0, 160 * 120], size=[160, 120])
    content = dict(
        info={}, licenses=[], images=images, annotations=[*annotations, crowd],
        categories=[dict(id=1, name='person', supercategory='person', keypoints=[], skeleton=[])],
    )  # fmt: skip
    _write_json(root / 'annotations' / 'person_keypoints_train2017.json', content)


def write_mpii(root: Path) -> None:
    """MPII: a list of people with a centre and a scale; a missing joint lies at -1, -1."""
    people = []
    for index in (1, 2):
        name = f'{index:09d}.jpg'
        _write_image(root / 'images' / name, 240, 200, seed=index)
        joints = _joints(16, box=(40, 20, 120, 200), seed=index)
        visible = [1] * 16
        joints[3], visible[3] = [-1.0, -1.0], 0
        people.append(
            dict(image=name, center=[100.0, 120.0], scale=1.0, joints=joints, joints_vis=visible)
        )
    _write_json(root / 'annotations' / 'mpii_train.json', people)


def write_lspet(root: Path) -> None:
    """LSPET in COCO's format with CrowdPose's 14 joints; a missing joint is three zeros."""
    for split, ids in (('train', (1, 2)), ('val', (3, 4))):
        images, annotations = [], []
        for index in ids:
            name = f'im{index:05d}.jpg'
            _write_image(root / 'images' / name, 150, 120, seed=index)
            images.append(dict(id=index, file_name=name, height=150, width=120, crowdIndex=0.0))
            person = _person(14, box=(10, 5, 100, 140), seed=index, missing=11)
            person.update(id=index, image_id=index, crowdIndex=0.0)
            annotations.append(person)
        categories = [dict(id=1, name='person', supercategory='person', keypoints=[], skeleton=[])]
        content = dict(images=images, annotations=annotations, categories=categories)
        _write_json(root / 'annotations' / f'{split}.json', content)


def write_imagenet(root: Path) -> None:
    """ImageNet-1k: a folder for each of the 1,000 classes, two with an image."""
    for index in range(1000):
        (root / 'train' / f'n{index:08d}').mkdir(parents=True)
    for index in (7, 991):
        folder = root / 'train' / f'n{index:08d}'
        _write_image(folder / f'{folder.name}_1.JPEG', 260, 300, seed=index)


def write_cifar10(root: Path) -> None:
    """CIFAR-10 as JPEG files: one image a class and split."""
    for split in ('train', 'test'):
        for index, name in enumerate(CIFAR10):
            _write_image(root / split / name / '0000.jpg', 32, 32, seed=index)


def write_cifar100(root: Path) -> None:
    """CIFAR-100 in its own format: pickles of rows of 3,072 bytes, channel by channel."""
    folder = root / 'cifar-100-python'
    folder.mkdir(parents=True)
    for split in ('train', 'test'):
        rows = np.random.default_rng(0).integers(0, 256, (4, 3 * 32 * 32), dtype=np.uint8)
        content = dict(data=rows, fine_labels=[0, 42, 99, 7], coarse_labels=[4, 1, 13, 2])
        (folder / split).write_bytes(pickle.dumps(content))


def _person(num_joints: int, box: tuple, seed: int, missing: int) -> dict[str, Any]:
    joints = [[*point, 2] for point in _joints(num_joints, box, seed)]
    joints[missing] = [0, 0, 0]
    return dict(
        category_id=1,
        iscrowd=0,
        num_keypoints=num_joints - 1,
        keypoints=[value for joint in joints for value in joint],
        bbox=list(box),
        area=float(box[2] * box[3]),
    )


def _joints(num_joints: int, box: tuple, seed: int) -> list[list[float]]:
    left, top, width, height = box
    points = np.random.default_rng(seed).uniform(0.1, 0.9, (num_joints, 2))
    return (points * (width, height) + (left, top)).round(2).tolist()


def _write_image(path: Path, height: int, width: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # OpenCV's writer goes by the extension and knows no '.JPEG' in capitals on some builds.
    path.write_bytes(cv2.imencode('.jpg', picture)[1].tobytes())


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
