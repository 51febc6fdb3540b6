"""Match a mentor's joints with the student's by point, by name or by ``keypoint_map``."""

from collections.abc import Mapping, Sequence

from ..errors import ClassroomError, listed, shown
from ..metainfo import Names


def match_joints(
    mentor: Sequence[str], student: Sequence[str], keypoint_map: Mapping | None, key: str
) -> list[int | None]:
    """Return the index of the mentor's joint for each joint of the student.

    Joints match if their :attr:`Names.points` are equal: the common names of MMPose's data sets in
    ``joint_sets.py``, else their own names. ``kpt-12`` of one data set does not match ``kpt-12`` of
    another unless the table says so.

    Args:
        mentor: Names of the mentor's joints.
        student: Names of the student's joints.
        keypoint_map: ``{mentor's joint: student's joint}``, names or indices. It takes precedence
            over equal points; None as the student's joint excludes the mentor's joint.
        key: Config key of the mentor, such as ``model.mentors[0]``, for messages.

    Returns:
        One index per joint of the student, None if the mentor has no such joint.

    Raises:
        ClassroomError: The map has a joint that does not exist or two joints for one, or no joint
            matches.

    Example:
        >>> match_joints(('neck', 'left_hip'), ('left_hip', 'nose'), None, 'model.mentors[0]')
        [1, None]
    """
    mentor, student = Names(mentor), Names(student)  # keeps the points of names that have them
    where = f'{key}.keypoint_map'
    if not isinstance(keypoint_map, (Mapping, type(None))):
        raise ClassroomError(
            f"{where} is {shown(keypoint_map)}: give a dict of a mentor's joint and the student's."
        )
    chosen: dict[int, int] = {}
    spoken_for = set()
    for theirs, ours in (keypoint_map or {}).items():
        source = _index(theirs, mentor, where, "the mentor's")
        if source in spoken_for:
            raise ClassroomError(f"{where} names the mentor's joint {mentor[source]!r} twice.")
        spoken_for.add(source)
        if ours is None:
            continue
        target = _index(ours, student, where, "the student's")
        if target in chosen:
            raise ClassroomError(
                f'{where} gives two joints of the mentor, {mentor[chosen[target]]!r} and '
                f"{mentor[source]!r}, for the student's {student[target]!r}: choose one."
            )
        chosen[target] = source
    by_point = {
        point: index for index, point in enumerate(mentor.points) if index not in spoken_for
    }
    matched = [chosen.get(index, by_point.get(point)) for index, point in enumerate(student.points)]
    if all(index is None for index in matched):
        raise ClassroomError(_no_joint(mentor, student, key))
    return matched


def matched_by_table(
    mentor: Names, student: Names, matched: Sequence[int | None]
) -> list[tuple[str, str]]:
    """Return the pairs of joints that only match because of ``joint_sets.py``.

    Args:
        mentor: Names of the mentor's joints.
        student: Names of the student's joints.
        matched: Return value of :func:`match_joints`.

    Returns:
        Names of the mentor's joint and of the student's.
    """
    return [
        (mentor[theirs], student[ours])
        for ours, theirs in enumerate(matched)
        if theirs is not None
        and mentor.points[theirs] == student.points[ours]
        and mentor.keys[theirs] != student.keys[ours]
    ]


def _no_joint(mentor: Names, student: Names, key: str) -> str:
    pairs = zip(mentor, mentor.keys)
    numbers = [name for name, joint in pairs if joint != name and name in student]
    remedy = f'Give {key}.keypoint_map = {{mentor joint: student joint}}.'
    if not numbers:
        return (
            f"{key} has no joint of the student's. Its joints: {listed(mentor)}. The student's: "
            f'{listed(student)}. Choose another mentor, or give {key}.keypoint_map = '
            '{mentor joint: student joint}.'
        )
    return (
        f"{key} has no joint of the student's: {numbers[0]} to {numbers[-1]} are numbers, no names:"
        f' each data set counts in its own way. {remedy} Where these two count alike, say so: '
        f"{key}.metainfo = the definition of the student's data set."
    )


def _index(joint: str | int, names: Names, where: str, whose: str) -> int:
    if type(joint) is int and 0 <= joint < len(names):
        return joint
    if isinstance(joint, str) and joint in names:
        return names.index(joint)
    raise ClassroomError(
        f'{where} names {shown(joint)}, which is none of {whose} {len(names)} joints: '
        f'{listed(names)}.'
    )
