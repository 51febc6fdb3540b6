"""Records on disk: preallocated, memory-mapped, each with its checksums."""

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np

from ..errors import ClassroomError

# For each record the CRC-32 of the image that the mentor saw, and that of the record, which is 0
# where there is none.
_HEADER = np.dtype([('image', '<u4'), ('record', '<u4')])


class Store:
    """The records of one mentor and one view: one for each sample.

    The file has the headers of all samples, then the records. A record is written before its
    header, and read only where the header's checksum is that of the record. So a process that is
    killed while it writes, or a file that was damaged, leaves a missing record and never a wrong
    one. Several processes may write.

    Args:
        path: File; it is made on first use.
        samples: Number of samples.
        size: Bytes of a record.

    Raises:
        ClassroomError: The file has another size or is a link, or there is no space for it.
    """

    def __init__(self, path: Path, samples: int, size: int) -> None:
        self.path = path
        self.samples = samples
        self.size = size
        self._maps: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def found(cls, path: Path, samples: int) -> 'Store':
        """The store of a file whose record size is not known.

        Raises:
            ClassroomError: No record fits into the file.
        """
        if path.stat().st_size < samples * (_HEADER.itemsize + 1):
            raise ClassroomError(f'{path} is too small for {samples} records: remove it.')
        return cls(path, samples, path.stat().st_size // samples - _HEADER.itemsize)

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.samples * (_HEADER.itemsize + self.size)

    def __getstate__(self) -> dict:
        # A loading worker opens the file itself.
        return dict(vars(self), _maps=None)

    def read(self, sample: int, image_crc: int) -> np.ndarray | None:
        """The record of a sample, ``(size,)`` bytes, or None where it is missing.

        Args:
            sample: Its index.
            image_crc: CRC-32 of the image that is shown.

        Raises:
            ClassroomError: The record is of another image.
        """
        if not self.path.exists():
            return None
        headers, records = self._open()
        header = headers[sample].copy()  # another process may write
        record = np.array(records[sample])
        if not header['record'] or zlib.crc32(record) != header['record']:
            return None
        if header['image'] != image_crc:
            raise ClassroomError(
                f'The cache has an output for another image of sample {sample} ({self.path}). A '
                'transform of train_dataloader.dataset.pipeline has random numbers of its own, or '
                'the image was changed: correct that, or remove this cache.'
            )
        return record

    def write(self, sample: int, image_crc: int, record: np.ndarray) -> None:
        """Write a record.

        Args:
            sample: Its index.
            image_crc: CRC-32 of the image that the mentor saw.
            record: ``(size,)`` bytes.

        Raises:
            ClassroomError: The file is read-only, or there is no space for it.
        """
        headers, records = self._open(create=True)
        if not records.flags.writeable:
            raise ClassroomError(
                f'{self.path} has no output for sample {sample}, and is read-only: make it '
                'writable, or give another model.cache.dir.'
            )
        headers['record'][sample] = 0
        records[sample] = record
        # The record's checksum comes last: it says that all else is there. A record whose checksum
        # happens to be 0 stays missing, and its mentor runs each time.
        headers[sample] = (image_crc, zlib.crc32(record))

    def count(self) -> int:
        """How many records there are."""
        if not self.path.exists():
            return 0
        return int(np.count_nonzero(self._open()[0]['record']))

    def _open(self, create: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The headers ``(samples,)`` and the records ``(samples, size)``."""
        if self._maps is None:
            if self.path.is_symlink():  # records would be written over any file of this size
                raise ClassroomError(f'{self.path} is a link, not a file of records: remove it.')
            if create and not self.path.exists():
                self._allocate()
            found = self.path.stat().st_size
            if found != self.bytes:
                raise ClassroomError(
                    f'{self.path} has {found} bytes instead of {self.bytes}: it was cut short. '
                    'Remove it; its records will be made anew.'
                )
            start = self.samples * _HEADER.itemsize
            # One mapping, because each keeps a file open.
            mode = 'r+' if os.access(self.path, os.W_OK) else 'r'
            try:
                whole = np.memmap(self.path, np.uint8, mode)
            except OSError as error:
                raise ClassroomError(
                    f'{self.path} could not be opened ({error}). If these are too many open files, '
                    'raise their limit (ulimit -n), or take fewer model.cache.views.'
                ) from error
            self._maps = whole[:start].view(_HEADER), whole[start:].reshape(-1, self.size)
        return self._maps

    def _allocate(self) -> None:
        """Make the file in full, under another name, so that it is never seen in part."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not the process's number: machines that share a disk have equal ones.
        draft = self.path.with_name(f'{self.path.name}.{uuid4().hex}')
        try:
            with _alone_in(self.path.parent):
                if self.path.exists():
                    return
                with open(draft, 'wb') as file:
                    _reserve(file, self.bytes)
                os.link(draft, self.path)
        except FileExistsError:  # another process was faster
            pass
        except OSError as error:
            raise ClassroomError(
                f'{self.path} could not be made ({error}): a cache needs {self.bytes} bytes for '
                'each mentor and view. Make space, or give another model.cache.dir.'
            ) from error
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time in, so that their drafts do not fill the disk together."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # releases the lock


def _reserve(file: BinaryIO, size: int) -> None:
    """Fill a new file with zeros, so that the disk cannot become full later."""
    if hasattr(os, 'posix_fallocate'):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(2**20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
