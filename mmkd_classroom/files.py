"""Atomic writes of files, and one message for errors of the disk."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from .errors import ClassroomError

# Of these errors the disk is the cause, whatever was written.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
_PARTIAL = '.partial'


def write_atomic(path: Path | str, content: bytes) -> None:
    """Write a file so that nothing else than its whole content is ever seen under its name.

    It is written under another name, brought to the disk, and then renamed. A kill, a crash of the
    machine or a full disk leaves the file as it was before, and at most a ``.partial`` beside it,
    which the next attempt replaces.

    Args:
        path: File; its folder is made if it does not exist.
        content: All of it.

    Raises:
        ClassroomError: The disk is full or read-only, or it refuses for another reason.
    """
    path = Path(path)
    partial = path.with_name(path.name + _PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _disk_error(error, path) from error


class AtomicLocalBackend(LocalBackend):
    """MMEngine's backend of local files, by :func:`write_atomic`.

    MMEngine writes checkpoints in place: a kill leaves half of one under the final name, and a
    validation that finds a new best overwrites the last good one.
    """

    def put(self, obj: bytes, filepath: Path | str) -> None:
        """Write bytes; see :func:`write_atomic`."""
        if Path(filepath).exists() and not Path(filepath).is_file():  # /dev/null, a pipe
            super().put(obj, filepath)
        else:
            write_atomic(filepath, obj)

    def put_text(self, obj: str, filepath: Path | str, encoding: str = 'utf-8') -> None:
        """Write text; see :func:`write_atomic`."""
        self.put(obj.encode(encoding), filepath)


def register_atomic_backend() -> None:
    """Make MMEngine write all local files of this process by :class:`AtomicLocalBackend`."""
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')


@contextmanager
def disk_errors_explained(folder: Path | str) -> Iterator[None]:
    """Turn errors of the disk into one message. Other errors of files go through as they are.

    Args:
        folder: Folder that the block writes to.

    Raises:
        ClassroomError: The disk is full, read-only or broken, or the folder is gone.
    """
    try:
        yield
    except OSError as error:
        named = Path(str(error.filename)).absolute()
        inside = error.filename is not None and named.is_relative_to(Path(folder).absolute())
        if error.errno in _DISK or inside:
            gone = error.errno == errno.ENOENT and not Path(folder).exists()
            path = folder if gone or error.filename is None else error.filename
            raise _disk_error(error, path) from error
        raise


def _disk_error(error: OSError, path: Path | str) -> ClassroomError:
    """What to say about a file or folder that could not be written."""
    why, remedy = error.strerror or str(error), 'make it writable or give another --work-dir'
    if error.errno == errno.ENOENT:
        why, remedy = 'it was removed meanwhile', 'find out by whom'
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = 'make space or give another --work-dir'
    return ClassroomError(
        f'{path} could not be written: {why}. What was finished before is kept as it is, unless it '
        f'was removed; {remedy}, then go on with --resume.'
    )
