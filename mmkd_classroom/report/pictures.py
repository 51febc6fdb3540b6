"""Pictures of a report, as data URIs: samples with predictions, and figures of joints."""

import base64
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

from .samples import SampleOutputs

matplotlib.use('Agg')  # before pyplot: there may be no display

from matplotlib import pyplot as plt  # noqa: E402

TRUTH, LIMB = '#17a673', '#ffd23f'
_SIDE = 160  # pixels of a panel


def plain_picture(image: np.ndarray) -> str:
    """The picture itself.

    Args:
        image: ``(H, W, 3)``, uint8, RGB.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE * 2, _SIDE * 2))
    return _uri(picture, 'PNG' if max(image.shape) <= 64 else 'JPEG')


def pose_pictures(outputs: SampleOutputs, sample: int) -> list[str]:
    """The truth, then what each member says, on the picture.

    Lines from a predicted joint to the true one show the error.
    """
    truth, seen = outputs.truth[sample], outputs.labelled[sample]
    panels = [_pose(outputs, sample, truth, seen, TRUTH)]
    for member in range(len(outputs.members)):
        known = ~np.isnan(outputs.item_score[member, sample])
        panels.append(_pose(outputs, sample, outputs.predicted[member, sample], known, LIMB, truth))
    return panels


def _pose(
    outputs: SampleOutputs,
    sample: int,
    joints: np.ndarray,
    shown: np.ndarray,
    colour: str,
    truth: np.ndarray | None = None,
) -> str:
    image = outputs.images[sample]
    height, width = image.shape[:2]
    figure = plt.figure(figsize=(width / height * 1.6, 1.6), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(image, extent=(0, width, height, 0), interpolation='bicubic')
    for a, b in outputs.links:
        if shown[a] and shown[b]:
            axis.plot(*joints[[a, b]].T, color=colour, linewidth=1.8, solid_capstyle='round')
    axis.scatter(*joints[shown].T, s=7, color=colour, edgecolors='black', linewidths=0.4, zorder=3)
    if truth is not None:
        for joint in np.flatnonzero(shown):
            axis.plot(*np.stack([joints[joint], truth[joint]]).T, color='#ff3b5c', linewidth=0.9)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis('off')
    return _figure_uri(figure, 'jpeg')


def joint_figures(outputs: SampleOutputs, values: np.ndarray, limit: float) -> list[str]:
    """A figure for each mentor, whose joints are coloured by a value.

    Args:
        outputs: Outputs of a pose classroom.
        values: ``(M, K)``, from 0 to ``limit``; NaN where not known.
        limit: Value of the darkest colour.
    """
    shape = mean_shape(outputs.truth, outputs.labelled)
    return [_joint_figure(outputs.links, shape, row, limit) for row in values]


def mean_shape(joints: np.ndarray, labelled: np.ndarray, rounds: int = 10) -> np.ndarray:
    """Mean shape of poses of any position, size, rotation and side that is seen.

    Generalised Procrustes analysis with reflections (Gower, "Generalized Procrustes Analysis",
    Psychometrika 1975) of the poses with most labels.

    Args:
        joints: ``(N, K, 2)``.
        labelled: ``(N, K)`` booleans.
        rounds: Number of rounds.

    Returns:
        ``(K, 2)``, upright if most poses are, with a root mean square distance of 1 from 0. Joints
        without a label in these poses are 0.
    """
    has = labelled.sum(axis=1) == labelled.sum(axis=1).max()
    common = labelled[has].all(axis=0)
    shape = np.zeros((joints.shape[1], 2))
    if not common.any():
        return shape
    poses = joints[has][:, common]
    poses = poses - poses.mean(axis=1, keepdims=True)
    sizes = np.sqrt((poses**2).sum(axis=-1).mean(axis=-1))
    poses = poses[sizes > 0] / sizes[sizes > 0, None, None]
    if len(poses) == 0:
        return shape
    mean = poses[0]
    for _ in range(rounds):
        u, _, v = np.linalg.svd(np.einsum('nki,kj->nij', poses, mean))
        turned = poses @ (u @ v)
        mean = turned.mean(axis=0)
        mean = mean / np.sqrt((mean**2).sum(axis=-1).mean())
    shape[common] = mean @ _upright(poses, mean)
    return shape


def _upright(poses: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The rotation that brings the mean shape closest to the poses as they are seen."""
    u, _, v = np.linalg.svd(mean.T @ poses.mean(axis=0))
    return u @ v


def _joint_figure(
    links: Sequence[tuple[int, int]], shape: np.ndarray, values: np.ndarray, limit: float
) -> str:
    figure = plt.figure(figsize=(2.0, 2.4), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    for a, b in links:
        axis.plot(*shape[[a, b]].T, color='#c9ced6', linewidth=4, solid_capstyle='round', zorder=1)
    axis.scatter(
        *shape.T, c=values, cmap='Blues', vmin=0, vmax=limit, s=150, edgecolors='#5b6675',
        linewidths=0.8, zorder=2, plotnonfinite=True,
    )  # fmt: skip
    for (x, y), value in zip(shape, values):
        if np.isfinite(value) and len(shape) <= 30:
            dark = value > 0.6 * limit
            axis.annotate(
                f'{100 * value:.0f}', (x, y), ha='center', va='center', fontsize=6,
                color='white' if dark else '#20262e', zorder=3,
            )  # fmt: skip
    axis.set_aspect('equal')
    axis.margins(0.15)
    axis.invert_yaxis()
    axis.axis('off')
    return _figure_uri(figure, 'png')


def _figure_uri(figure: plt.Figure, kind: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    plt.close(figure)
    return _data(buffer, kind)


def _uri(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return _data(buffer, kind.lower())


def _data(buffer: io.BytesIO, kind: str) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'
