"""The demo's picture: predictions beside the truth, and what the mentors taught."""

import json
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import mmengine
import numpy as np

matplotlib.use('Agg')  # before pyplot: there may be no display

from matplotlib import pyplot as plt  # noqa: E402

from demo.coco import PERSON  # noqa: E402
from demo.pose import JOINTS  # noqa: E402

LEFT, RIGHT = '#ff9e1b', '#21a7ff'  # of the figure's own sides, as in MMPose


def picture(
    path: Path,
    data: Path,
    predictions: dict[str, Path],
    mentoring: Path,
    people: int = 6,
) -> None:
    """Draw predictions beside the truth, and the record of the mentors below.

    Args:
        path: Image file to write.
        data: Folder of the data set.
        predictions: Files that ``tools/test.py --dump`` wrote, by the name of the model.
        mentoring: The file ``mentoring.jsonl`` of ``MentoringHook``.
        people: Number of people, at equal distances in the validation set.
    """
    truth = json.loads((data / 'annotations' / 'val.json').read_text())
    files = {image['id']: image['file_name'] for image in truth['images']}
    annotations = truth['annotations']
    chosen = [annotations[i] for i in np.linspace(0, len(annotations) - 1, people).astype(int)]
    found = {title: _by_annotation(file) for title, file in predictions.items()}

    figure = plt.figure(figsize=(2.2 * people, 2.2 * (1 + len(found)) + 3.6), layout='constrained')
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.2 * (1 + len(found)), 3.6])
    axes = top.subplots(1 + len(found), people, squeeze=False)
    for column, annotation in enumerate(chosen):
        image = cv2.imread(str(data / 'images' / files[annotation['image_id']]))[..., ::-1]
        labelled = np.reshape(annotation['keypoints'], (-1, 3))
        seen = labelled[:, 2] > 0  # joints outside the picture have no truth to compare with
        poses = [labelled[:, :2], *(found[title][annotation['id']] for title in found)]
        for axis, joints in zip(axes[:, column], poses):
            _draw_person(axis, image, joints, seen)
    for axis, title in zip(axes[:, 0], ['truth', *found]):
        axis.set_ylabel(title, fontsize=11)
    _draw_mentoring(bottom, mentoring)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _by_annotation(file: Path) -> dict[int, np.ndarray]:
    """Predicted joints ``(17, 2)`` by the id of the annotation."""
    return {
        sample['id']: np.asarray(sample['pred_instances']['keypoints'])[0]
        for sample in mmengine.load(file)
    }


def _draw_person(axis: plt.Axes, image: np.ndarray, joints: np.ndarray, seen: np.ndarray) -> None:
    axis.imshow(image)
    for a, b in np.array(PERSON['skeleton']) - 1:
        if seen[a] and seen[b]:
            sides = {JOINTS[a].split('_')[0], JOINTS[b].split('_')[0]}
            colour = LEFT if sides <= {'left'} else RIGHT if sides <= {'right'} else '#f4f4f4'
            axis.plot(*joints[[a, b]].T, color=colour, linewidth=2)
    axis.scatter(*joints[seen].T, s=7, color='#e01f5a', zorder=3)
    height, width = image.shape[:2]
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def weights(record: dict[str, Any]) -> dict[str, float]:
    """Each mentor's fraction of the weight of all, in a record of ``MentoringHook``."""
    given = {name: values['weight'] for name, values in record['mentors'].items()}
    whole = sum(given.values()) or 1.0
    return {name: weight / whole for name, weight in given.items()}


def _draw_mentoring(figure: plt.Figure, mentoring: Path) -> None:
    """The weight of each mentor, its share of the loss, and its score, over time."""
    records = [json.loads(line) for line in mentoring.read_text().splitlines()]
    steps = [record['iter'] for record in records]
    parts = [weights(record) for record in records]
    left, middle, right = figure.subplots(1, 3)
    for name in records[0]['mentors']:
        left.plot(steps, [100 * part[name] for part in parts], marker='.', label=name)
        for axis, key in ((middle, 'share'), (right, 'score')):
            values = [100 * record['mentors'][name][key] for record in records]
            axis.plot(steps, values, marker='.', label=name)
    scores = [100 * record['student_score'] for record in records]
    right.plot(steps, scores, marker='.', color='black', label='the student')
    left.set(title="who teaches: a mentor's weight\namong all mentors", ylabel='%')
    middle.set(title="a mentor's part of the whole loss", ylabel='%')
    right.set(title='mean score (OKS) on the training batches', ylabel='%')
    for axis in (left, middle, right):
        axis.set(xlabel='training step', ylim=(0, None))
        axis.grid(alpha=0.3)
    right.legend()
