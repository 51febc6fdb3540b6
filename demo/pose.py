"""A skeleton with COCO's 17 joints that takes poses within human joint ranges.

Body axes, in metres: x to the person's own left, y up, z to the front.
"""

from typing import NamedTuple

import numpy as np

JOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip',
    'left_knee', 'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip
SIDES = {'left': 1.0, 'right': -1.0}

# Degrees: (shoulder flexion, abduction, inward rotation, elbow flexion), and how far each may go.
ARMS = np.array([
    (0, 12, 0, 15), (30, 10, 0, 35), (-28, 10, 0, 20),  # hanging, swinging forth and back
    (40, 12, 20, 95), (-40, 15, 10, 90),  # running
    (165, 14, 0, 20), (20, 110, -80, 60),  # raised, waving
    (0, 90, 0, 10), (0, 88, -85, 90), (85, 5, 0, 15),  # sideways, goalpost, pointing ahead
    (-12, 45, 60, 95), (55, 40, 40, 135), (35, 14, 55, 95),  # on the hip, at the ear, folded
])  # fmt: skip
ARM_ODDS = np.array([5, 3, 3, 1.5, 1.5, 1.5, 1, 1, 1, 1, 1, 1, 1]) / 22.5
ARM_SPREAD, ARM_RANGE = (16, 9, 18, 16), ((-55, 4, -95, 0), (178, 150, 85, 148))

# Degrees: (hip flexion, abduction, outward rotation, knee flexion) of one leg and of the other.
LEGS = np.array([
    ((0, 5, 6, 4), (0, 5, 6, 4)), ((0, 5, 6, 4), (5, 8, 12, 14)),  # standing, at ease
    ((27, 4, 5, 12), (-17, 4, 5, 24)), ((70, 5, 4, 85), (-15, 5, 4, 55)),  # walking, running
    ((0, 27, 14, 5), (0, 27, 14, 5)), ((78, 8, 5, 12), (0, 5, 6, 6)),  # astride, kicking
    ((88, 9, 5, 85), (88, 9, 5, 85)),  # sitting
    ((104, 20, 14, 118), (104, 20, 14, 118)),  # squatting
    ((85, 8, 5, 80), (-18, 6, 5, 50)), ((65, 38, 45, 118), (0, 5, 6, 4)),  # lunging, one leg up
])  # fmt: skip
LEG_ODDS = np.array([4, 3, 4, 3, 2, 1, 2, 1, 1, 1]) / 22
LEAN = (0, 0, 3, 12, 0, -8, 2, 28, 10, 0)  # of the trunk, degrees forward, for each row of LEGS
SITTING = 6  # the row of LEGS that needs a seat
LEG_SPREAD, LEG_RANGE = (9, 5, 8, 9), ((-25, 0, -25, 0), (118, 50, 50, 140))


class Frame(NamedTuple):
    """A place and a direction: ``origin`` (3,) and ``axes`` (3, 3), columns left, up and front."""

    origin: np.ndarray
    axes: np.ndarray

    def at(self, x: float, y: float, z: float) -> np.ndarray:
        """The point (3,) that lies at (x, y, z) as seen from this frame."""
        return self.origin + self.axes @ (x, y, z)

    def child(self, offset: tuple | np.ndarray, turn: np.ndarray) -> 'Frame':
        """The frame at ``offset`` from this one, turned by the (3, 3) rotation ``turn``."""
        return Frame(self.at(*offset), self.axes @ turn)


class Build(NamedTuple):
    """Bodily proportions, each a factor on the average adult's."""

    arm: float
    leg: float
    trunk: float
    shoulder: float
    hip: float
    head: float
    girth: float


class Pose(NamedTuple):
    """A posed body: its ``frames`` by name, its ``joints`` (17, 3), and whether it ``sits``."""

    frames: dict[str, Frame]
    joints: np.ndarray
    build: Build
    sits: bool


def turn(axis: str, degrees: float) -> np.ndarray:
    """The right-handed rotation (3, 3) by ``degrees`` about the axis 'x', 'y' or 'z'."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = {'x': (1, 2), 'y': (2, 0), 'z': (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a body and a pose in which no arm runs through the trunk, the head or a thigh."""
    build = Build(*np.clip(rng.normal(1, (0.06, 0.06, 0.05, 0.06, 0.06, 0.08, 0.1)), 0.8, 1.25))
    while True:
        stance = rng.choice(len(LEGS), p=LEG_ODDS)
        legs = LEGS[stance][:: rng.choice((-1, 1))]
        arms = ARMS[rng.choice(len(ARMS), size=2, p=ARM_ODDS)]
        if rng.random() < 0.35:  # people like symmetry
            arms = arms[[0, 0]]
        arms = np.clip(rng.normal(arms, ARM_SPREAD), *ARM_RANGE)
        legs = np.clip(rng.normal(legs, LEG_SPREAD), *LEG_RANGE)
        trunk = rng.normal((LEAN[stance], 0, 4, 0, 0), (5, 4, 8, 6, 10))
        neck = rng.normal(0, (12, 24, 8))
        pose = articulate(build, trunk, neck, arms, legs, bool(stance == SITTING))
        if not _collides(pose):
            return pose


def articulate(
    build: Build,
    trunk: np.ndarray,
    neck: np.ndarray,
    arms: np.ndarray,
    legs: np.ndarray,
    sits: bool = False,
) -> Pose:
    """Forward kinematics from the pelvis outwards.

    Args:
        build: Bodily proportions.
        trunk: Pelvis lean forward and sideways, spine bend forward, sideways and twist, shape (5,),
            degrees.
        neck: Nod, turn to the left and tilt, shape (3,), degrees.
        arms: Rows like those of ``ARMS`` for the left and the right arm, shape (2, 4).
        legs: Rows like those of ``LEGS`` for the left and the right leg, shape (2, 4).
        sits: Whether the pose needs a seat.
    """
    head = 1.2 * build.head  # a little large, as in the young, so that a face has pixels
    spine = [turn('x', trunk[2] / 2) @ turn('z', trunk[3] / 2) @ turn('y', trunk[4] / 2)] * 2
    pelvis = Frame(np.zeros(3), turn('x', trunk[0]) @ turn('z', trunk[1]))
    waist = pelvis.child((0, 0.1, 0), spine[0])
    chest = waist.child((0, 0.37 * build.trunk, 0), spine[1])  # its origin is the base of the neck
    skull = turn('y', neck[1]) @ turn('x', neck[0]) @ turn('z', neck[2])
    skull = chest.child((0, 0.07, 0.005), skull).child((0, 0.1 * head, 0.02), np.eye(3))
    frames = dict(pelvis=pelvis, chest=chest, head=skull)
    joints = dict(nose=skull.at(0, -0.015 * head, 0.108 * head))
    for (side, sign), arm, leg in zip(SIDES.items(), arms, legs):
        joints[f'{side}_eye'] = skull.at(sign * 0.036 * head, 0.022 * head, 0.083 * head)
        joints[f'{side}_ear'] = skull.at(sign * 0.082 * head, -0.005 * head, -0.005)

        turned = turn('x', -arm[0]) @ turn('z', sign * arm[1]) @ turn('y', -sign * arm[2])
        upper = chest.child((sign * 0.18 * build.shoulder, -0.045, 0), turned)
        fore = upper.child((0, -0.28 * build.arm, 0), turn('x', -arm[3]))
        hand = fore.child((0, -0.25 * build.arm, 0), np.eye(3))

        turned = turn('x', -leg[0]) @ turn('z', sign * leg[1]) @ turn('y', sign * leg[2])
        thigh = pelvis.child((sign * 0.095 * build.hip, 0, 0), turned)
        shin = thigh.child((0, -0.42 * build.leg, 0), turn('x', leg[3]))
        # The sole follows the floor half of the way, as far as an ankle gives.
        slope = np.clip(leg[3] - leg[0] + trunk[0], -50, 40)
        foot = shin.child((0, -0.41 * build.leg, 0), turn('x', -0.5 * slope))
        chain = dict(shoulder=upper, elbow=fore, wrist=hand, hip=thigh, knee=shin, ankle=foot)
        frames.update({f'{side}_{name}': frame for name, frame in chain.items()})
        joints.update({f'{side}_{name}': frame.origin for name, frame in chain.items()})
    return Pose(frames, np.array([joints[name] for name in JOINTS]), build, sits)


def _collides(pose: Pose) -> bool:
    """Whether a forearm is in the trunk, the head or a thigh, or a leg in the other."""
    joint = dict(zip(JOINTS, pose.joints))
    chest, pelvis, head = (pose.frames[name].origin for name in ('chest', 'pelvis', 'head'))
    bodies = [(chest * 0.85 + pelvis * 0.15, pelvis, 0.165), (head, head, 0.15)]
    bodies += [(joint[f'{side}_hip'], joint[f'{side}_knee'], 0.11) for side in SIDES]
    for side in SIDES:
        elbow, wrist = joint[f'{side}_elbow'], joint[f'{side}_wrist']
        for point in (wrist + 0.3 * (wrist - elbow), wrist, (wrist + elbow) / 2):
            if any(_distance(point, a, b) < radius for a, b, radius in bodies):
                return True
    shin, other = ((joint[f'{side}_knee'], joint[f'{side}_ankle']) for side in SIDES)
    return any(
        _distance(shin[0] + s * (shin[1] - shin[0]), *other) < 0.11 for s in (0, 0.5, 1)
    ) or any(_distance(point, *shin) < 0.11 for point in other)


def _distance(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Distance from ``point`` to the segment from ``a`` to ``b``, each (3,)."""
    along = b - a
    share = np.clip((point - a) @ along / max(along @ along, 1e-9), 0, 1)
    return float(np.linalg.norm(point - a - share * along))
