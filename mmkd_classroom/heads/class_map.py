"""Match a mentor's classes with the student's."""

from collections.abc import Mapping, Sequence
from typing import Any

import mmengine

from ..errors import ClassroomError


def class_indices(
    class_map: Any, classes: int, mentor_classes: int, names: Sequence[str] | None, key: str
) -> list[int]:
    """Return the index of the mentor's class for each class of the student.

    Args:
        class_map: A list with one entry per class of the student, a dict ``{student's class:
            mentor's class}``, or the path of a JSON or YAML file with one of them. The mentor's
            classes are indices or names.
        classes: Number of the student's classes.
        mentor_classes: Number of the mentor's classes.
        names: Names of the mentor's classes, or None if its data set has none.
        key: Config key of the mentor, such as ``model.mentors[0]``, for messages.

    Raises:
        ClassroomError: A class is not mapped, not known or mapped to twice.
    """
    where = f'{key}.class_map'
    if isinstance(class_map, str):
        try:
            class_map = mmengine.load(class_map)
        except Exception as error:  # the type depends on the format
            raise ClassroomError(f'{where} = {class_map!r} cannot be read: {error}') from error
    if not isinstance(class_map, (Mapping, list, tuple)):
        raise ClassroomError(
            f'{where} is {class_map!r}: give a list, a dict or the path of a file.'
        )
    if not isinstance(class_map, Mapping):
        class_map = dict(enumerate(class_map))
    class_map = {int(ours): theirs for ours, theirs in class_map.items()}
    unmapped = [index for index in range(classes) if index not in class_map]
    unknown = sorted(set(class_map) - set(range(classes)))
    if unmapped or unknown:
        raise ClassroomError(
            f'{where} leaves out the classes {unmapped[:10]} of the student, and names '
            f'{unknown[:10]}, which it does not have: give one class of the mentor for each of '
            f'the {classes}.'
        )
    indices = []
    for ours in range(classes):
        theirs = class_map[ours]
        if names is not None and theirs in names:
            if list(names).count(theirs) > 1:
                raise ClassroomError(
                    f"{where}[{ours}] is {theirs!r}, a name of several of the mentor's classes: "
                    'give the index.'
                )
            theirs = list(names).index(theirs)
        if not isinstance(theirs, int) or not 0 <= theirs < mentor_classes:
            raise ClassroomError(
                f"{where}[{ours}] is {theirs!r}, which is none of the mentor's {mentor_classes} "
                'classes: give an index, or a name of the data set in its config.'
            )
        if theirs in indices:
            raise ClassroomError(
                f"{where} gives the mentor's class {theirs} to {indices.index(theirs)} and to "
                f'{ours}: its probability would count twice.'
            )
        indices.append(theirs)
    return indices
