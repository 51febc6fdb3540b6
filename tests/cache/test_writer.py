"""Records written in the background arrive, in order, and errors are told."""

import threading

import pytest
import torch

from mmkd_classroom.cache.writer import Writer
from mmkd_classroom.errors import ClassroomError


def test_on_a_cpu_they_are_written_at_once():
    written = {}
    packed = torch.arange(12, dtype=torch.uint8).view(3, 4)
    Writer().write(packed, [0, 2], lambda row, record: written.update({row: record.tolist()}))
    assert written == {0: [0, 1, 2, 3], 2: [8, 9, 10, 11]}


def test_in_the_background_they_wait_for_the_copy():
    writer, written, arrived = Writer(), [], threading.Event()
    for batch in range(5):
        host = torch.full((2, 3), batch, dtype=torch.uint8)
        writer.submit(lambda: arrived.wait(60), host, [1], lambda _, r: written.append(int(r[0])))
    assert not written
    arrived.set()
    writer.flush()
    assert written == [0, 1, 2, 3, 4]


def test_an_error_is_raised_by_the_next_call():
    def fail(*_):
        raise ClassroomError('the disk is full')

    writer = Writer()
    with pytest.raises(ClassroomError, match='the disk is full'):
        writer.submit(lambda: None, torch.zeros(1, 1, dtype=torch.uint8), [0], fail)
        writer.flush()
