"""Renders a figure and annotates it: camera, light, and which joints are hidden."""

from typing import NamedTuple

import cv2
import numpy as np

from demo.figure import Mesh, dress, sample_cloth, tube
from demo.pose import JOINTS, Frame, Pose, sample_pose, turn
from demo.surroundings import cast_shadow, draw_place, expose, obstruct

FINE = 2  # the figure is painted this much finer than the picture, then averaged: smooth edges
# A joint is hidden if it is more than this (metres) behind the visible surface.
DEPTHS = {'hip': 0.17, 'shoulder': 0.12, 'knee': 0.1, 'elbow': 0.08, 'wrist': 0.07, 'ankle': 0.08}
DEPTH = np.array([DEPTHS.get(name.split('_')[-1], 0.035) for name in JOINTS])


class Picture(NamedTuple):
    """A picture and its truth.

    Attributes:
        image: BGR, shape (H, W, 3), uint8.
        keypoints: Rows (x, y, v) in COCO's order and meaning, shape (17, 3); v is 0 outside the
            picture (then x = y = 0), 1 hidden, 2 visible.
        mask: Where the person is visible, shape (H, W), bool.
    """

    image: np.ndarray
    keypoints: np.ndarray
    mask: np.ndarray


class Camera(NamedTuple):
    """A pinhole camera in front of the figure, which is turned by ``rotation`` (3, 3)."""

    rotation: np.ndarray
    distance: float
    focal: float
    centre: np.ndarray

    def see(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and distances (...) of the ``points`` (..., 3)."""
        seen = points @ self.rotation.T
        depth = np.maximum(self.distance - seen[..., 2], 0.2)
        flat = seen[..., :2] * (1, -1) * self.focal / depth[..., None]
        return flat + self.centre, depth


def draw_picture(rng: np.random.Generator) -> Picture:
    """Sample a person, a place and a camera, and render the picture."""
    size = rng.integers(160, 201, size=2)
    pose = sample_pose(rng)
    mesh = dress(pose, rng)
    camera = sample_camera(rng, pose.joints, size)
    return render(rng, pose, mesh, camera, size)


def sample_camera(rng: np.random.Generator, joints: np.ndarray, size: np.ndarray) -> Camera:
    """A camera that frames most of the ``joints`` in a picture of ``size`` (H, W).

    Over half of the views are from the front, over a quarter from the back, the rest from anywhere;
    one in six is too close for the whole figure.
    """
    front, back, anywhere = rng.normal(0, 35), rng.normal(180, 35), rng.uniform(0, 360)
    yaw = rng.choice((front, back, anywhere), p=(0.55, 0.28, 0.17))
    roll = rng.normal(0, 30 if rng.random() < 0.06 else 5)
    rotation = turn('z', roll) @ turn('x', rng.normal(10, 11)) @ turn('y', yaw)
    view = Camera(rotation, rng.uniform(2.4, 5.5), 1.0, np.zeros(2))
    flat, _ = view.see(joints)
    low, high = flat.min(axis=0), flat.max(axis=0)
    fill = rng.uniform(0.55, 0.86)
    focal = fill / max((high - low) / size[::-1])
    middle = (low + high) / 2
    if rng.random() < 0.17:
        focal *= rng.uniform(1.15, 1.8)
        middle = middle + (flat[0] - middle) * rng.uniform(-0.2, 0.9)  # faces rather than feet
    centre = size[::-1] * rng.normal(0.5, 0.04, 2) - middle * focal
    return view._replace(focal=focal, centre=centre)


def render(
    rng: np.random.Generator, pose: Pose, mesh: Mesh, camera: Camera, size: np.ndarray
) -> Picture:
    """Render the ``mesh`` of a ``pose`` to a picture of ``size`` (H, W)."""
    floor = pose.joints[:, 1].min() - 0.08
    light = turn('y', rng.uniform(-70, 70)) @ turn('x', -rng.uniform(20, 70)) @ (0, 0, 1.0)
    people = len(mesh.quads)
    if pose.sits:
        mesh = Mesh.join([mesh, _seat(rng, pose, floor)])
    order, depth = _paint(mesh, camera, size)
    shade = _shade(mesh.quads @ camera.rotation.T, light) * rng.normal(1, 0.035, len(depth))
    figure = _colour(order, mesh.colours * shade[:, None])
    image = draw_place(rng, size, _wall(camera, floor, rng.uniform(0.8, 2.5)))
    image *= cast_shadow(*_shadow(camera, pose.joints, floor, light), size)
    image = image * (1 - figure[..., 3:] / np.float32(255)) + figure[..., :3]

    points, far = camera.see(pose.joints)
    image, front = obstruct(rng, image, points)
    inside = ((points >= 0) & (points < size[::-1])).all(axis=1)
    column, row = points.astype(int).clip(0, size[::-1] - 1).T
    nearest = np.append(depth, np.inf)[order[row * FINE, column * FINE]]
    visible = (nearest > far - DEPTH) & ~front[row, column]
    # OpenCV and MMPose put 0 at the middle of the first pixel, not at its edge.
    labels = (points - 0.5).clip(0, size[::-1] - 1)
    keypoints = np.column_stack([labels, 1 + visible]) * inside[:, None]
    coarse = order[::FINE, ::FINE]
    return Picture(expose(rng, image), keypoints, (coarse >= 0) & (coarse < people) & ~front)


def _paint(mesh: Mesh, camera: Camera, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The painter's algorithm: the quad in each fine pixel (-1 for none) and each quad's depth."""
    points, depth = camera.see(mesh.quads)
    depth = depth.mean(axis=1)
    a, b = points[:, 2] - points[:, 0], points[:, 3] - points[:, 1]
    facing = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    order = np.full(size * FINE, -1, np.int32)
    fixed = np.round((points * FINE - 0.5) * 16).astype(np.int32)  # OpenCV: four fractional bits
    indices = np.flatnonzero(facing)
    indices = indices[np.argsort(-(depth - mesh.lift)[indices], kind='stable')]
    for index, quad in zip(indices.tolist(), fixed[indices]):
        cv2.fillConvexPoly(order, quad, index, cv2.LINE_8, 4)
    return order, depth


def _colour(order: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The figure at the picture's own scale: BGR weighted by cover, and the cover; (H, W, 4)."""
    table = np.column_stack([colours, np.full(len(colours), 255)])
    table = np.vstack([table, np.zeros(4)]).clip(0, 255).astype(np.uint8)  # last row: -1, no quad
    layer = table.view(np.uint32)[order].view(np.uint8)
    return cv2.resize(layer, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)


def _shade(quads: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Brightness (n,) of ``quads`` (n, 4, 3) under a lamp in direction ``light`` and a pale sky."""
    normal = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    return 0.5 + 0.12 * normal[:, 1] + 0.62 * (normal @ light).clip(0)


def _wall(camera: Camera, floor: float, distance: float) -> np.ndarray:
    """Where a wall ``distance`` metres behind the figure meets the floor: (2, 2), left to right."""
    back, side = (camera.rotation.T @ axis * (1, 0, 1) for axis in ((0, 0, -1), (1, 0, 0)))
    return camera.see(distance * back + (0, floor, 0) + np.outer((-9, 9), side))[0]


def _shadow(
    camera: Camera, joints: np.ndarray, floor: float, light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the joints' shadows fall, (17, 2), and how wide a limb's is there, (17,); pixels."""
    light = camera.rotation.T @ light
    fallen = joints - light * ((joints[:, 1:2] - floor) / max(light[1], 0.35))
    points, depth = camera.see(fallen)
    return points, 0.14 * camera.focal / depth


def _seat(rng: np.random.Generator, pose: Pose, floor: float) -> Mesh:
    """A stool under the pelvis."""
    pelvis = pose.frames['pelvis'].origin
    top, base = (Frame(np.array((pelvis[0], y, pelvis[2])), np.eye(3)) for y in (-0.11, floor))
    wide, cloth = rng.uniform(0.14, 0.24), sample_cloth(rng)
    profile = ((0, 0, 0), (0.01, wide, wide), (1, wide, wide))
    return tube(top, base, profile, lambda t, phi: cloth(t * 0.4, phi), 16, 14)
