"""Records on disk: preallocated, memory-mapped, each with its checksums."""

import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import ClassroomError

# A record starts with the CRC-32 of the picture that the mentor saw and that of the rest.
_HEADER = np.dtype([('picture', '<u4'), ('payload', '<u4')])


class Store:
    """The records of one mentor and one view: one for each sample.

    A record is written before its header, and read only where the header's checksum is that of the
    record. So a process that is killed while it writes, or a file that was damaged, leaves a
    missing record and never a wrong one. Several processes may write.

    Args:
        path: File; it is made on first use.
        samples: Number of samples.
        size: Bytes of a record.

    Raises:
        ClassroomError: The file has another size, or there is no space for it.
    """

    def __init__(self, path: Path, samples: int, size: int) -> None:
        self.path = path
        self.samples = samples
        self.size = size
        self._row = np.dtype([('header', _HEADER), ('payload', 'u1', (size,))])
        self._map: np.memmap | None = None

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.samples * self._row.itemsize

    def __getstate__(self) -> dict:
        # A loading worker opens the file itself.
        return dict(vars(self), _map=None)

    def read(self, sample: int, picture: int) -> np.ndarray | None:
        """The record of a sample, ``(size,)`` bytes, or None where it is missing.

        Args:
            sample: Its index.
            picture: CRC-32 of the picture that is shown.

        Raises:
            ClassroomError: The record is of another picture.
        """
        if not self.path.exists():
            return None
        row = self._rows()[sample]
        payload = row['payload'].copy()
        said = int(row['header']['payload'])
        if not said or zlib.crc32(payload) != said:
            return None
        if int(row['header']['picture']) != picture:
            raise ClassroomError(
                f'The cache has an answer for another picture of sample {sample} ({self.path}). A '
                'transform of train_dataloader.dataset.pipeline has random numbers of its own, or '
                'the picture was changed: correct that, or remove this cache.'
            )
        return payload

    def write(self, sample: int, picture: int, payload: np.ndarray) -> None:
        """Write a record.

        Args:
            sample: Its index.
            picture: CRC-32 of the picture that the mentor saw.
            payload: ``(size,)`` bytes.
        """
        row = self._rows(create=True)[sample : sample + 1]
        row['header']['payload'] = 0
        row['payload'] = payload
        row['header']['picture'] = picture
        row['header']['payload'] = zlib.crc32(payload)

    def count(self) -> int:
        """How many records there are."""
        if not self.path.exists():
            return 0
        return int(np.count_nonzero(self._rows()['header']['payload']))

    def _rows(self, create: bool = False) -> np.memmap:
        if self._map is None:
            if create and not self.path.exists():
                self._allocate()
            found = self.path.stat().st_size
            if found != self.bytes:
                raise ClassroomError(
                    f'{self.path} has {found} bytes instead of {self.bytes}: it was cut short. '
                    'Remove it; its records will be made anew.'
                )
            self._map = np.memmap(self.path, self._row, 'r+', shape=(self.samples,))
        return self._map

    def _allocate(self) -> None:
        """Make the file in full, under another name, so that it is never seen in part."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f'{self.path.name}.{os.getpid()}')
        try:
            with open(draft, 'wb') as file:
                os.posix_fallocate(file.fileno(), 0, self.bytes)
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
