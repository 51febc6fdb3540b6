"""Write rendered pictures as a COCO-keypoints data set."""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from demo.pose import JOINTS
from demo.scene import Picture, draw_picture
from mmkd_classroom.errors import ClassroomError

# Version of the renderer. Raise it with every change that changes the pictures.
RENDERER = 2
# A file in the data set: its settings. It also says that the folder may be replaced.
RECORD = 'made_by_demo.json'
SPLITS = ('train', 'val')
# Spread of COCO's annotations of each joint, relative to the square root of the person's area.
SIGMAS = np.array([
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
])  # fmt: skip
# COCO's person category. Its skeleton counts joints from 1.
PERSON = dict(
    id=1, name='person', supercategory='person', keypoints=list(JOINTS),
    skeleton=[[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8],
              [7, 9], [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]],
)  # fmt: skip


def write_data_set(
    out: Path | str, train: int = 2400, val: int = 300, seed: int = 0, force: bool = False
) -> bool:
    """Render ``out``/images and ``out``/annotations/{train,val}.json, unless they exist.

    The annotated joints of training pictures are displaced a little, as those of human annotators.
    Those of validation pictures are exact.

    A picture depends only on ``seed``, its split and its number, not on the number of pictures. The
    set is made in a temporary folder and then renamed, so that ``out`` is never incomplete.

    Args:
        out: Folder of the data set. Its parents are made.
        train: Number of training pictures, at least 1.
        val: Number of validation pictures, at least 1.
        seed: Seed of all pictures, at least 0.
        force: Replace another demo set in ``out``. Nothing else is ever replaced.

    Returns:
        Whether it was rendered: False if ``out`` is this set already.

    Raises:
        ClassroomError: A number is out of range, or ``out`` holds something else.
    """
    for name, number, least in (('train', train, 1), ('val', val, 1), ('seed', seed, 0)):
        if number < least:
            raise ClassroomError(f'--{name} is {number}; it must be at least {least}.')
    out = Path(out).resolve()
    record = json.dumps(dict(renderer=RENDERER, seed=seed, train=train, val=val)) + '\n'
    if out.exists() and not _may_write(out, record, force):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name}-', dir=out.parent) as scratch:
        new = Path(scratch) / 'new'
        for folder in ('images', 'annotations'):
            (new / folder).mkdir(parents=True)
        for split, count in zip(SPLITS, (train, val)):
            _write_split(new, split, count, seed)
        (new / RECORD).write_text(record)
        if out.exists():
            out.rename(Path(scratch) / 'old')
        new.rename(out)
    return True


def _may_write(out: Path, record: str, force: bool) -> bool:
    """Whether the existing ``out`` is to be replaced: False if it is the wanted set already."""
    if out.is_dir() and not any(out.iterdir()):
        return True
    if not (out / RECORD).is_file():
        raise ClassroomError(
            f'{out} holds something that is not a demo data set, so it is not changed. '
            'Give another folder.'
        )
    found = (out / RECORD).read_text()
    if found == record:
        return False
    if force:
        return True
    raise ClassroomError(
        f'{out} holds another demo data set ({found.strip()}); asked for was {record.strip()}. '
        'Give another folder, or --force to replace it.'
    )


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    """Render the pictures of one split and write its annotation file."""
    images, annotations = [], []
    for number in range(1, count + 1):
        picture = sample_picture(seed, split, number)
        annotation = annotate(picture)
        if split == 'train':
            rng = np.random.default_rng((seed, len(SPLITS), number))
            annotation['keypoints'] = displace(annotation, picture.image.shape[:2], rng)
        # COCO's image ids are unique over its splits.
        image_id, name = number + 1_000_000 * SPLITS.index(split), f'{split}_{number:06d}.jpg'
        _, jpeg = cv2.imencode('.jpg', picture.image, (cv2.IMWRITE_JPEG_QUALITY, 90))
        (root / 'images' / name).write_bytes(jpeg.tobytes())
        height, width = picture.image.shape[:2]
        images.append(dict(id=image_id, file_name=name, height=height, width=width))
        annotations.append(dict(id=image_id, image_id=image_id, **annotation))
        if number % 250 == 0 or number == count:
            print(f'{split}: {number} of {count} pictures', flush=True)
    info = dict(description='Rendered figures with COCO joints', version=str(RENDERER))
    data = dict(info=info, images=images, annotations=annotations, categories=[PERSON])
    (root / 'annotations' / f'{split}.json').write_text(json.dumps(data))


def sample_picture(seed: int, split: str, number: int) -> Picture:
    """Picture ``number`` of ``split``, with at least six labelled joints, four of them visible."""
    rng = np.random.default_rng((seed, SPLITS.index(split), number))
    while True:
        picture = draw_picture(rng)
        labels = picture.keypoints[:, 2]
        if (labels > 0).sum() >= 6 and (labels == 2).sum() >= 4 and picture.mask.sum() >= 300:
            return picture


def displace(
    annotation: dict, shape: tuple[int, int], rng: np.random.Generator
) -> list[int | float]:
    """The labelled joints, displaced at random with the spread of COCO's annotations.

    Args:
        annotation: See :func:`annotate`.
        shape: Height and width of the picture, which no joint leaves.
        rng: Generator.

    Returns:
        51 numbers as in COCO.
    """
    joints = np.array(annotation['keypoints']).reshape(-1, 3)
    spread = SIGMAS[:, None] * annotation['area'] ** 0.5
    moved = joints[:, :2] + spread * rng.normal(size=(len(joints), 2))
    moved = moved.clip(0, (shape[1] - 1, shape[0] - 1)).round(2)
    joints[:, :2] = np.where(joints[:, 2:] > 0, moved, 0)
    return _flat(joints)


def annotate(picture: Picture) -> dict:
    """COCO's annotation of ``picture`` without the ids; numbers to 0.01 px.

    The area is that of the visible part of the person. The box holds it and every labelled joint.
    """
    joints = picture.keypoints.round(2)
    labelled = joints[joints[:, 2] > 0, :2]
    rows, columns = np.nonzero(picture.mask)
    low = np.minimum(labelled.min(axis=0), (columns.min(), rows.min()))
    high = np.maximum(labelled.max(axis=0), (columns.max() + 1, rows.max() + 1))
    outlines, _ = cv2.findContours(
        picture.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return dict(
        category_id=PERSON['id'],
        iscrowd=0,
        keypoints=_flat(joints),
        num_keypoints=len(labelled),
        bbox=[round(float(n), 2) for n in (*low, *(high - low))],
        area=float(picture.mask.sum()),
        segmentation=[outline.ravel().tolist() for outline in outlines if len(outline) > 2],
    )


def _flat(joints: np.ndarray) -> list[int | float]:
    """Joints (17, 3) as in COCO: x, y and a whole number v."""
    return [n for x, y, v in joints.tolist() for n in (x, y, int(v))]
