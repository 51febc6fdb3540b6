"""Write rendered pictures as a COCO-keypoints data set."""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from mmkd_classroom.demo.pose import JOINTS
from mmkd_classroom.demo.scene import Picture, draw_picture
from mmkd_classroom.errors import ClassroomError

# Raise it with every change that changes the pictures: sets made before are then told apart.
RENDERER = 2
# Says what a set was made from, and that its folder is ours to replace.
RECORD = 'made_by_demo.json'
SPLITS = ('train', 'val')
# How far COCO's annotators were from each other, in square roots of the person's area (OKS).
SIGMAS = np.array([
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
])  # fmt: skip
# COCO's own person category; its skeleton counts joints from 1.
PERSON = dict(
    id=1, name='person', supercategory='person', keypoints=list(JOINTS),
    skeleton=[[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8],
              [7, 9], [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]],
)  # fmt: skip


def write_data_set(
    out: Path | str, train: int = 2400, val: int = 300, seed: int = 0, force: bool = False
) -> bool:
    """Render ``out``/images and ``out``/annotations/{train,val}.json, unless they are there.

    The joints of the training pictures are annotated as people do, a little beside the truth; those
    of the validation pictures are exact.

    A picture depends on ``seed``, its split and its number alone, not on how many there are. The
    set is made beside ``out`` and renamed when it is whole, so ``out`` never holds half of one.

    Args:
        out: The data set's folder; its parents are made.
        train: Number of training pictures, at least 1.
        val: Number of validation pictures, at least 1.
        seed: At least 0.
        force: Replace a different demo set in ``out``. Nothing else is ever replaced.

    Returns:
        Whether it was rendered: False if ``out`` already holds this very set.

    Raises:
        ClassroomError: If a number is out of range, or ``out`` holds something else.
    """
    for name, number, least in (('train', train, 1), ('val', val, 1), ('seed', seed, 0)):
        if number < least:
            raise ClassroomError(f'--{name} is {number}; it must be at least {least}.')
    out = Path(out).resolve()
    record = dict(renderer=RENDERER, seed=seed, train=train, val=val)
    if out.exists() and not _may_write(out, record, force):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name}-', dir=out.parent) as scratch:
        new = Path(scratch) / 'new'
        for folder in ('images', 'annotations'):
            (new / folder).mkdir(parents=True)
        for split, count in zip(SPLITS, (train, val)):
            _write_split(new, split, count, seed)
        (new / RECORD).write_text(json.dumps(record) + '\n')
        if out.exists():
            out.rename(Path(scratch) / 'old')
        new.rename(out)
    return True


def _may_write(out: Path, record: dict, force: bool) -> bool:
    """Whether ``out``, which exists, may be replaced; False if it already is what is wanted."""
    if out.is_dir() and not any(out.iterdir()):
        return True
    if not (out / RECORD).is_file():
        raise ClassroomError(
            f'{out} holds something that is not a demo data set, and is left as it is. '
            'Give another folder.'
        )
    try:
        found = json.loads((out / RECORD).read_text())
    except ValueError:
        found = 'an unreadable record'
    whole = len(list(out.glob('images/*.jpg'))) == record['train'] + record['val']
    if found == record and whole and all((out / f'annotations/{s}.json').is_file() for s in SPLITS):
        return False
    if force:
        return True
    what = f'another demo data set ({found})' if found != record else 'this set with files missing'
    raise ClassroomError(
        f'{out} holds {what}; asked for was {record}. '
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
            annotation['keypoints'] = as_people_do(annotation, picture.image.shape[:2], rng)
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
    """Picture ``number`` of ``split``: at least six joints in it, and four of them in sight."""
    rng = np.random.default_rng((seed, SPLITS.index(split), number))
    while True:
        picture = draw_picture(rng)
        labels = picture.keypoints[:, 2]
        if (labels > 0).sum() >= 6 and (labels == 2).sum() >= 4 and picture.mask.sum() >= 300:
            return picture


def as_people_do(
    annotation: dict, shape: tuple[int, int], rng: np.random.Generator
) -> list[int | float]:
    """The labelled joints, each displaced as far as COCO's annotators displaced it.

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
    return [int(n) if i % 3 == 2 else float(n) for i, n in enumerate(joints.ravel())]


def annotate(picture: Picture) -> dict:
    """COCO's annotation of ``picture``, but for the ids; numbers to 0.01 px.

    The area is that of what is seen of the person, the box holds that and every labelled joint.
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
        keypoints=[int(n) if i % 3 == 2 else float(n) for i, n in enumerate(joints.ravel())],
        num_keypoints=len(labelled),
        bbox=[round(float(n), 2) for n in (*low, *(high - low))],
        area=float(picture.mask.sum()),
        segmentation=[outline.ravel().tolist() for outline in outlines if len(outline) > 2],
    )
