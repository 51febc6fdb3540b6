"""Write records in the background, so that the training step does not wait for the device."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

#: Writes one record: ``(index in the batch, bytes)``.
Write = Callable[[int, np.ndarray], None]
_MOST_PENDING = 64


class Writer:
    """Writes the records of batches, one batch after the other.

    From a GPU they are copied without waiting, and a thread writes them when they have arrived. On
    a CPU they are written at once.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future] = deque()

    def __getstate__(self) -> dict:
        return dict(_pool=None, _pending=deque())  # a loading worker only reads

    def write(self, packed: Tensor, rows: Sequence[int], write: Write) -> None:
        """Write some records of a batch.

        Args:
            packed: Records ``(N, size)``, bytes.
            rows: Indices of the records to write.
            write: Function that writes one record, ``(row, (size,) bytes)``.

        Raises:
            ClassroomError: An earlier record could not be written.
        """
        if packed.device.type != 'cuda':
            _write(packed, rows, write)
            return
        host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        host.copy_(packed, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self.submit(arrived.synchronize, host, rows, write)

    def submit(
        self, wait: Callable[[], None], host: Tensor, rows: Sequence[int], write: Write
    ) -> None:
        """Write in the background, after ``wait`` has returned."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, 'mentor-cache')

        def task() -> None:
            wait()
            _write(host, rows, write)

        self._pending.append(self._pool.submit(task))
        while len(self._pending) > _MOST_PENDING or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()

    def flush(self) -> None:
        """Wait until all records are written.

        Raises:
            ClassroomError: One could not be written.
        """
        while self._pending:
            self._pending.popleft().result()


def _write(packed: Tensor, rows: Sequence[int], write: Write) -> None:
    records = packed.cpu().numpy()  # on a CPU and in pinned memory this copies nothing
    for row in rows:
        write(row, records[row])
