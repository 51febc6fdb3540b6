"""Results on disk: one line a finished run, which no interruption loses or spoils."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ClassroomError

NAME = 'results.jsonl'


class Ledger:
    """Lines of JSON, only ever added to; the last of those with the same digest counts.

    Args:
        folder: Holds :data:`NAME`, made with the first line.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._found = {record['made_from']: record for record in self._read()}

    def find(self, made_from: str | None) -> dict[str, Any] | None:
        """The result of the run with this digest, or None."""
        return self._found.get(made_from)

    def add(self, record: dict[str, Any]) -> None:
        """Write a result, with its digest in ``made_from``, down to the disk."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open('ab+') as file:
                line = json.dumps(record).encode() + b'\n'
                # What an interruption tore must not spoil this line as well.
                file.write(line if self._ends_whole(file) else b'\n' + line)
                file.flush()
                os.fsync(file.fileno())
            self._found[record['made_from']] = record

    @staticmethod
    def _ends_whole(file: Any) -> bool:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b'\n'

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # torn by an interruption: that run is done again
            if isinstance(record, dict) and 'made_from' in record:
                yield record


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other benchmarks out of the folder. The lock goes with the process, however it ends.

    Raises:
        ClassroomError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClassroomError(
                f'Another benchmark works in {folder}: wait for it or end it, or give this one '
                'another --work-dir.'
            ) from None
        yield
