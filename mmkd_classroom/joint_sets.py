"""Joints that are one point of the body under different names in the data sets of MMPose.

MMPose's configs for merged data sets say in ``KeypointConverter`` which joint of one data set is
which joint of another. Here, each of these joints has one common name, so joints of any two of the
data sets can be matched. Joints that are not here are matched by their own names.

Where MMPose's configs contradict each other, there is no common name: MPII's ``upper_neck`` and
``thorax`` and PoseTrack18's ``head_bottom`` (each of them is the ``neck`` of one other data set),
the inner ends of COFW's brows and the sides of its nose. Nor have joints that MMPose does not map,
such as ``pelvis``, ``root`` and ``hip``, all of AFLW, and 300W-LP, whose definition does not say
which points are mirrored.
"""

from collections.abc import Collection, Iterable, Mapping

# Points of faces, as indices of LaPa, which has the most. The two points within each eyelid of the
# 68 (37, 38, 40, 41, ...) are approximated by the outer two of LaPa's three.
_FACE_68 = (
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 55), *range(58, 63),
    66, 67, 69, 70, 71, 73, 75, 76, 78, 79, 80, 82, *range(84, 104),
)  # fmt: skip
_WFLW = (*range(55), *range(58, 63), *range(66, 74), *range(75, 83), *range(84, 106))
# For the eyes of COFW (8 to 15), MMPose's face6 configs have WFLW's indices where LaPa's are due,
# so that point 60 occurs twice. These are LaPa's; the whole-body configs have the same corners.
_COFW = (
    33, 46, None, None, 35, 40, 44, 48, 66, 79, 70, 75, 68, 72, 77, 81, None, None, None, None,
    54, 60, 84, 90, 87, 98, 102, 93, 16,
)  # fmt: skip


def _face(points: Iterable[int | None], prefix: str = 'kpt-') -> dict[str, str]:
    return {f'{prefix}{i}': f'LaPa {p}' for i, p in enumerate(points) if p is not None}


_BODY_FACE = _face(_FACE_68, 'face-')
# An approximation of MMPose's configs, which take these for the top of the head.
_HEAD = {'head': 'head_top'}
_TOP_HEAD = {'top_head': 'head_top'}

# Common names by data set and number of joints. MMPose gives several sets the name 'Human-Art'.
_COMMON: dict[tuple[str, int], Mapping[str, str]] = {
    ('campus', 14): _TOP_HEAD,
    ('crowdpose', 14): _TOP_HEAD,
    ('shelf', 14): _TOP_HEAD,
    ('halpe26', 26): _HEAD,
    ('jhmdb', 15): _HEAD,
    ('coco_wholebody', 133): _BODY_FACE,
    ('coco_wholebody_openpose', 134): _BODY_FACE,
    ('h3wb', 133): _BODY_FACE,
    ('ubody2d', 133): _BODY_FACE,
    ('halpe', 136): {**_HEAD, **_BODY_FACE},
    ('Human-Art', 21): {  # approximations: it does not say which finger or toe
        'left_finger': 'left_forefinger4',
        'right_finger': 'right_forefinger4',
        'left_toe': 'left_big_toe',
        'right_toe': 'right_big_toe',
    },
    ('interhand3d', 42): {'left_wrist': 'left_hand_root', 'right_wrist': 'right_hand_root'},
    ('lapa', 106): _face(range(106)),
    ('wflw', 98): _face(_WFLW),
    ('cofw', 29): _face(_COFW),
    ('300w', 68): _face(_FACE_68),
    ('300vw', 68): _face(_FACE_68),
    ('coco_wholebody_face', 68): _BODY_FACE,
    # Not from MMPose: SuperAnimal (Ye et al., Nature Communications 2024) merges AnimalPose with
    # AP-10K by these, but not the front knee with AP-10K's elbow (DeepLabCut's conversion tables).
    ('animalpose', 20): {
        'TailBase': 'Root of tail',
        'L_F_Elbow': 'L_Shoulder',
        'R_F_Elbow': 'R_Shoulder',
        'L_B_Elbow': 'L_Hip',
        'R_B_Elbow': 'R_Hip',
        'L_B_Knee': 'L_Knee',
        'R_B_Knee': 'R_Knee',
    },
}


def common_names(dataset: str, joints: Collection[str]) -> Mapping[str, str]:
    """Return the common names of a data set's joints.

    Args:
        dataset: ``dataset_name`` in its definition.
        joints: Names of all of its joints.

    Returns:
        ``{joint: common name}`` of the joints that have one. It is empty if the data set is not in
        the table, or if its joints are not those of MMPose's definition.
    """
    common = _COMMON.get((dataset, len(joints)), {})
    return common if common.keys() <= set(joints) else {}
