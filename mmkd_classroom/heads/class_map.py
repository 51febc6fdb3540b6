"""Match a mentor's classes with the student's."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mmengine.logging import print_log

from ..errors import ClassroomError, reason, shown
from ..json_files import MAX_BYTES, read_json


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
        class_map = _read(Path(class_map), where)
    if not isinstance(class_map, (Mapping, list, tuple)):
        raise ClassroomError(
            f'{where} is {shown(class_map)}: give a list, a dict or the path of a file.'
        )
    if not isinstance(class_map, Mapping):
        class_map = dict(enumerate(class_map))
    class_map = _by_index(class_map, where)
    unmapped = [index for index in range(classes) if index not in class_map]
    unknown = sorted(set(class_map) - set(range(classes)))
    if unmapped or unknown:
        raise ClassroomError(
            f'{where} leaves out the classes {unmapped[:10]} of the student, and names '
            f'{shown(unknown[:10])}, which it does not have: give one class of the mentor for each '
            f'of the {classes}.'
        )
    indices = []
    for ours in range(classes):
        theirs = class_map[ours]
        if names is not None and isinstance(theirs, str) and theirs in names:
            if list(names).count(theirs) > 1:
                raise ClassroomError(
                    f"{where}[{ours}] is {theirs!r}, a name of several of the mentor's classes: "
                    'give the index.'
                )
            theirs = list(names).index(theirs)
        if type(theirs) is not int or not 0 <= theirs < mentor_classes:
            raise ClassroomError(
                f"{where}[{ours}] is {shown(theirs)}, which is none of the mentor's "
                f'{mentor_classes} classes: give an index, or a name of the data set in its config.'
            )
        if theirs in indices:
            raise ClassroomError(
                f"{where} gives the mentor's class {theirs} to {indices.index(theirs)} and to "
                f'{ours}: its probability would count twice.'
            )
        indices.append(theirs)
    return indices


def compare_classes(ours: Sequence[str], theirs: Sequence[str], key: str) -> None:
    """Compare the names of the student's and a mentor's classes, if no ``class_map`` is given.

    Names that one of them does not have are warned of, since data sets spell names in many ways.

    Args:
        ours: Names of the student's classes.
        theirs: Names of the mentor's.
        key: Config key of the mentor, such as ``model.mentors[0]``, for messages.

    Raises:
        ClassroomError: Both have a name, but for another class.
    """
    different = [pair for pair in enumerate(zip(ours, theirs)) if pair[1][0] != pair[1][1]]
    if not different:
        return
    index, (name, other) = different[0]
    text = (
        f"{len(different)} of {len(ours)} classes have another name in {key}'s data set than in "
        f'train_dataloader.dataset: class {index} is {name!r} here and {other!r} there'
    )
    remedy = f"{key}.class_map, the mentor's class for each of the student's"
    known = set(theirs)
    if any(name in known for _, (name, _) in different):
        raise ClassroomError(
            f'{text}, and the order differs: the mentor would teach wrong classes. Give {remedy}; '
            f'list(range({len(ours)})) if only the names are wrong.'
        )
    print_log(
        f'{text}. They are taken for the same, in the same order; if that is wrong, give {remedy}.',
        'current',
        logging.WARNING,
    )


def _read(path: Path, where: str) -> Any:
    """Read a file that can only hold plain values: no pickle, no YAML of Python objects."""
    where = f'{where} = {str(path)!r}'
    if path.suffix not in ('.json', '.yaml', '.yml'):
        raise ClassroomError(f'{where}: give a file of JSON or YAML, .json, .yaml or .yml.')
    try:
        if path.suffix == '.json':
            return read_json(path)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f'it has more than {MAX_BYTES} bytes')
        return yaml.safe_load(path.read_bytes())
    except Exception as error:  # PyYAML raises various types
        raise ClassroomError(f'{where} cannot be read ({reason(error)}).') from error


def _by_index(class_map: Mapping, where: str) -> dict[int, Any]:
    """The map with whole numbers as keys; those of JSON are strings."""
    found: dict[int, Any] = {}
    for ours, theirs in class_map.items():
        known = type(ours) is int or (isinstance(ours, str) and ours.isdecimal() and len(ours) < 9)
        if not known or int(ours) in found:
            raise ClassroomError(
                f'{where} has the key {shown(ours)}{" twice" * known}: the keys are the indices of '
                "the student's classes."
            )
        found[int(ours)] = theirs
    return found
