"""Output of MentoringHook: a file of records, also across resumed runs, and a line of the log."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ClassroomError, shown
from ..files import disk_errors_explained, write_atomic
from ..json_files import is_number, read_lines, read_values

# Statistics in the line, in this order; the others are only in the file and the curves.
_SHOWN = ('active', 'weight', 'score', 'share')


class RecordFile:
    """``mentoring.jsonl`` in a work_dir: one line of JSON per record, in the order of training.

    Args:
        work_dir: Folder of the file.
    """

    def __init__(self, work_dir: Path | str) -> None:
        self.path = Path(work_dir) / 'mentoring.jsonl'

    def start(self, iteration: int, log_dir: Path | str) -> str:
        """Remove the records after an iteration, which training will write again.

        An interrupted training often continued after its last checkpoint. The old file is copied
        first, and the new one replaces it atomically, so a crash loses no record.

        Args:
            iteration: Number of finished iterations.
            log_dir: Folder of the copy, ``mentoring_before.jsonl``.

        Returns:
            A message for the log; empty if no record was removed.

        Raises:
            ClassroomError: See :meth:`read`.
        """
        if not self.path.exists():
            return ''
        lines = [line for _, line in read_lines(self.path)]
        kept = [line for line, record in self._complete() if record['iter'] <= iteration]
        if len(kept) == len(lines):
            return ''
        copy = Path(log_dir) / 'mentoring_before.jsonl'
        shutil.copyfile(self.path, copy)
        write_atomic(self.path, b''.join(kept))
        return (
            f'Training goes on after iteration {iteration}: {len(lines) - len(kept)} later records '
            f'of {self.path} are dropped; the file as it was is {copy}.'
        )

    def read(self) -> list[dict[str, Any]]:
        """Return all complete records; a crash may have cut a line short.

        Raises:
            ClassroomError: A complete line is no record.
        """
        return [record for _, record in self._complete()] if self.path.exists() else []

    def _complete(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        for number, line, record in read_values(self.path):
            if not line.endswith(b'\n'):
                return
            if not _is_record(record):
                raise ClassroomError(
                    f'{self.path}: line {number} is no record of a classroom: {shown(record)}. '
                    'Remove this line.'
                )
            yield line, record

    def append(self, record: dict[str, Any]) -> None:
        """Append a record.

        Raises:
            ClassroomError: The disk is full, or the folder was removed.
        """
        with disk_errors_explained(self.path.parent), self.path.open('a') as file:
            file.write(json.dumps(record) + '\n')


def _is_record(value: Any) -> bool:
    """Whether it has an iteration, and numbers of at least one mentor."""
    if not isinstance(value, dict) or not is_number(value.get('iter')):
        return False
    mentors = value.get('mentors')
    numbers = [value[key] for key in value if key != 'mentors']
    if not isinstance(mentors, dict) or not all(isinstance(v, dict) for v in mentors.values()):
        return False
    numbers += [number for values in mentors.values() for number in values.values()]
    return bool(mentors) and all(map(is_number, numbers))


def scalars(record: dict[str, Any]) -> dict[str, float]:
    """Statistics of a record by the names of their curves.

    Example:
        >>> scalars(dict(iter=50, epoch=1, student_score=0.4, mentors=dict(a=dict(share=0.2))))
        {'student_score': 0.4, 'mentor/a/share': 0.2}
    """
    numbers = {k: v for k, v in record.items() if k not in ('iter', 'epoch', 'mentors')}
    of_mentors = {
        f'mentor/{name}/{key}': value
        for name, values in record['mentors'].items()
        for key, value in values.items()
    }
    return {**numbers, **of_mentors}


def summary(record: dict[str, Any]) -> str:
    """Format a record as one line, with the names of the mentors first.

    Example:
        >>> mentors = dict(a=dict(active=0.8, score=0.6), b=dict(active=0.4, score=0.5))
        >>> summary(dict(student_score=0.45, mentors=mentors))
        'a, b: active 0.80 0.40 | score 0.60 0.50 (student 0.45)'
    """
    mentors = record['mentors']
    columns = []
    for key in _SHOWN:
        figures = [f'{values[key]:.2f}' for values in mentors.values() if key in values]
        if figures:
            student = record.get('student_score') if key == 'score' else None
            figures += [] if student is None else [f'(student {student:.2f})']
            columns.append(' '.join([key, *figures]))
    if any(values.get('invalid') for values in mentors.values()):
        columns.append(' '.join(['invalid', *(str(v.get('invalid', 0)) for v in mentors.values())]))
    return f'{", ".join(mentors)}: {" | ".join(columns)}'
