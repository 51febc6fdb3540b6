"""Which of a mentor's joints is which of the student's: by name, or as the config says."""

from collections.abc import Mapping

from ..errors import ClassroomError
from ..metainfo import Names


def match_joints(
    mentor: Names, student: Names, keypoint_map: Mapping | None, key: str
) -> list[int | None]:
    """The mentor's joint for each of the student's.

    Args:
        mentor: Names of the mentor's joints.
        student: Names of the student's.
        keypoint_map: ``{mentor's joint: student's joint}``, names or indices, for what equal
            names do not settle; None as the student's joint leaves the mentor's out.
        key: The mentor's config key, such as ``model.mentors[0]``.

    Returns:
        One index per joint of the student, None where the mentor has no such joint.

    Raises:
        ClassroomError: The map names a joint that does not exist or two joints for one, or
            nothing matches.

    Example:
        >>> match_joints(('neck', 'left_hip'), ('left_hip', 'nose'), None, 'model.mentors[0]')
        [1, None]
    """
    where = f'{key}.keypoint_map'
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
    by_name = {name: index for index, name in enumerate(mentor) if index not in spoken_for}
    matched = [chosen.get(index, by_name.get(name)) for index, name in enumerate(student)]
    if all(index is None for index in matched):
        raise ClassroomError(
            f"{key} has no joint of the student's: {', '.join(mentor)} against "
            f'{", ".join(student)}. Give {where} = {{mentor joint: student joint}}.'
        )
    return matched


def _index(joint: str | int, names: Names, where: str, whose: str) -> int:
    if isinstance(joint, int) and 0 <= joint < len(names):
        return joint
    if joint in names:
        return names.index(joint)
    raise ClassroomError(
        f'{where} names {joint!r}, which is none of {whose} {len(names)} joints: '
        f'{", ".join(names)}.'
    )
