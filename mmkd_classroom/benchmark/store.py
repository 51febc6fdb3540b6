"""Results on disk: one line of JSON per finished run, safe against interruptions."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ClassroomError, shown
from ..files import disk_errors_explained
from ..json_files import read_values


class ResultStore:
    """A file ``results.jsonl`` to which results are appended, each with its ``run_id``.

    Of several results with the same ``run_id`` the last one counts.

    Args:
        folder: Folder of the file. It is created with the first result.

    Raises:
        ClassroomError: The file has results of an earlier format, or lines that are none.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / 'results.jsonl'
        self._lock = threading.Lock()
        self._results = {result['run_id']: result for result in self._read()}

    def find(self, run_id: str | None) -> dict[str, Any] | None:
        """The result of a run, or None."""
        return self._results.get(run_id)

    def add(self, result: dict[str, Any]) -> None:
        """Append a result, which has a ``run_id``, and wait until it is on the disk.

        Raises:
            ClassroomError: The disk is full or read-only.
        """
        with self._lock:
            with disk_errors_explained(self.path.parent):
                self._append(json.dumps(result).encode() + b'\n')
            self._results[result['run_id']] = result

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open('ab+') as file:
            # An interruption may have left an incomplete line; start a new one.
            file.write(line if _ends_with_newline(file) else b'\n' + line)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for number, _, result in read_values(self.path):  # an incomplete line: run again
            if not _is_result(result):
                raise ClassroomError(
                    f'{self.path}: line {number} is no result of a run: {shown(result)}. Remove '
                    'this line; its run is done again.'
                )
            yield result


def _is_result(value: Any) -> bool:
    """Whether it has a ``run_id``, and its ``metrics`` are a dict, if it has any."""
    return (
        isinstance(value, dict)
        and isinstance(value.get('run_id'), str)
        and isinstance(value.get('metrics', {}), dict)
    )


def _ends_with_newline(file: Any) -> bool:
    """Whether a file is empty or its last line is complete."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b'\n'


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other benchmarks. The lock ends with the process at the latest.

    Raises:
        ClassroomError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClassroomError(
                f'Another benchmark is running in {folder}. Wait for it, stop it, or use another '
                '--work-dir.'
            ) from None
        yield
