"""Read untrusted JSON strictly, within bounds."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from .errors import ClassroomError

#: Bytes of a file, or of a line of a file of lines.
MAX_BYTES = 2**24
_DIGITS = 18  # of a whole number: it fits into 64 bits, and can be a float


def parse(text: str | bytes) -> Any:
    """Parse JSON without its dark corners.

    Args:
        text: JSON; NaN and infinity are read, as Python writes them.

    Raises:
        ValueError: It is no JSON, has a key twice, a whole number of more than 18 digits, or is
            nested too deeply for Python's parser.

    Example:
        >>> parse('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: the key 'a' is there twice
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_int=_whole)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def read_json(path: Path) -> Any:
    """Parse a file.

    Raises:
        ValueError: See :func:`parse`; or the file has more than :data:`MAX_BYTES`.
        OSError: It cannot be read.
    """
    with path.open('rb') as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f'it has more than {MAX_BYTES} bytes')
    return parse(content)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of a file, with their endings, and their numbers from 1.

    Raises:
        ClassroomError: A line has more than :data:`MAX_BYTES`; it is not read into memory.
        OSError: The file cannot be read.
    """
    with path.open('rb') as file:
        for number in count(1):
            line = file.readline(MAX_BYTES + 1)
            if len(line) > MAX_BYTES:
                raise ClassroomError(
                    f'{path}: line {number} has more than {MAX_BYTES} bytes, so nobody here wrote '
                    'it. Remove that line, or move the file away.'
                )
            if not line:
                return
            yield number, line


def read_values(path: Path) -> Iterator[tuple[int, bytes, Any]]:
    """Values of a file with one line of JSON each, with the line and its number from 1.

    What is no JSON is passed over, because a crash may have cut a line short.

    Raises:
        ClassroomError: See :func:`read_lines`.
        OSError: The file cannot be read.
    """
    for number, line in read_lines(path):
        try:
            value = parse(line)
        except ValueError:
            continue
        yield number, line, value


def is_number(value: Any) -> bool:
    """Whether a value is a number; ``True`` and ``False`` are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'the key {key[:40]!r} is there twice')
        found[key] = value
    return found


def _whole(text: str) -> int:
    if len(text.lstrip('-')) > _DIGITS:
        raise ValueError(f'a whole number has {len(text)} digits')
    return int(text)
