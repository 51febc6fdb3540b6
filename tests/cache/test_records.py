"""Records on disk: what was damaged is missing or told, and never a wrong output."""

import multiprocessing
import os
import resource
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd_classroom.cache import store as module
from mmkd_classroom.cache.cache import _allow_files
from mmkd_classroom.cache.store import Store
from mmkd_classroom.errors import ClassroomError

SAMPLES, SIZE = 20, 100


def payload(sample):
    return np.random.default_rng(sample).integers(0, 256, SIZE, dtype=np.uint8)


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path)


def filled(folder):
    store = Store(folder / 'records', SAMPLES, SIZE)
    for sample in range(0, SAMPLES, 2):
        store.write(sample, 100 + sample, payload(sample))
    return store


def test_records_are_read_as_written(store):
    again = Store(store.path, SAMPLES, SIZE)
    for sample in range(SAMPLES):
        record = again.read(sample, 100 + sample)
        if sample % 2:
            assert record is None
        else:
            assert np.array_equal(record, payload(sample))
    assert again.count() == SAMPLES // 2
    assert store.path.stat().st_size == store.bytes
    assert list(store.path.parent.iterdir()) == [store.path]  # no drafts


def test_a_record_that_is_written_again_while_it_is_read(store, monkeypatch):
    """As by another training that shares the cache: a writer begins with the header."""

    class Compared(int):
        def __ne__(self, other):
            headers, _ = store._open()
            differs = int(self) != int(other)
            headers[0] = (0, 0)
            return differs

    monkeypatch.setattr(zlib, 'crc32', lambda data, crc32=zlib.crc32: Compared(crc32(data)))
    assert np.array_equal(store.read(0, 100), payload(0))
    assert store.read(0, 100) is None


def test_where_there_is_no_file_nothing_is_read_or_made(tmp_path):
    store = Store(tmp_path / 'records', SAMPLES, SIZE)
    assert store.read(0, 0) is None and store.count() == 0
    assert not store.path.exists()


def test_another_picture_is_an_error_that_names_the_file(store):
    with pytest.raises(ClassroomError, match=r'another image of sample 4 \(.*records\)'):
        store.read(4, 105)


@given(st.integers(0, SAMPLES * (SIZE + 8) - 1), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_flipped_byte_is_a_missing_record_or_an_error(tmp_path_factory, position, flip):
    store = filled(tmp_path_factory.mktemp('flip'))
    data = bytearray(store.path.read_bytes())
    data[position] ^= flip
    store.path.write_bytes(data)
    damaged = Store(store.path, SAMPLES, SIZE)
    for sample in range(0, SAMPLES, 2):
        try:
            record = damaged.read(sample, 100 + sample)
        except ClassroomError:
            continue  # in the checksum of the image
        assert record is None or np.array_equal(record, payload(sample))


def test_a_file_that_was_cut_short_is_told(store):
    os.truncate(store.path, store.bytes // 2)
    with pytest.raises(ClassroomError, match=r'records has \d+ bytes instead of .*cut short'):
        Store(store.path, SAMPLES, SIZE).read(0, 100)


def test_a_deleted_file_is_filled_again(store):
    store.path.unlink()
    again = Store(store.path, SAMPLES, SIZE)
    assert again.read(0, 100) is None
    again.write(0, 100, payload(0))
    assert np.array_equal(again.read(0, 100), payload(0))


def write_for_ever(path, size, begun):
    """Write all records again and again."""
    store = Store(path, SAMPLES, size)
    while True:
        for sample in range(SAMPLES):
            value = np.random.default_rng(sample).integers(0, 256, size, dtype=np.uint8)
            store.write(sample, zlib.crc32(value), value)
            begun.set()


def test_killed_writers_leave_whole_records(tmp_path):
    """Two at once, killed at random moments."""
    size = 200_000  # a page is 4,096: a record takes a while
    path = tmp_path / 'records'
    generator = np.random.default_rng(0)
    forks = multiprocessing.get_context('fork')
    for _ in range(5):
        begun = [forks.Event() for _ in range(2)]
        writers = [forks.Process(target=write_for_ever, args=(path, size, each)) for each in begun]
        for writer in writers:
            writer.start()
        assert all(each.wait(60) for each in begun)
        time.sleep(generator.uniform(0.01, 0.3))
        for writer in writers:
            writer.kill()
            writer.join()
        store = Store(path, SAMPLES, size)
        for sample in range(SAMPLES):
            value = np.random.default_rng(sample).integers(0, 256, size, dtype=np.uint8)
            record = store.read(sample, zlib.crc32(value))
            assert record is None or np.array_equal(record, value)
    assert store.count() > 0


def test_a_store_keeps_one_file_open(tmp_path):
    before = len(os.listdir('/proc/self/fd'))
    stores = [filled(tmp_path / str(index)) for index in range(10)]
    assert len(os.listdir('/proc/self/fd')) - before == len(stores)


def test_a_process_may_open_the_files_of_all_views(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        _allow_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(356, limits[1]), limits[1])
        _allow_files(10**9)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == limits[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_too_many_open_files_are_told(store):
    again = Store(store.path, SAMPLES, SIZE)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(ClassroomError, match='could not be opened .*ulimit -n'):
            again.read(0, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_read_only_file_is_read(store, monkeypatch):
    monkeypatch.setattr(module.os, 'access', lambda path, mode: False)
    again = Store(store.path, SAMPLES, SIZE)
    assert np.array_equal(again.read(0, 100), store.read(0, 100))
    with pytest.raises(ClassroomError, match='no output for sample 1, and is read-only'):
        again.write(1, 100, payload(1))


def allocate(path, peak, ready):
    ready.wait()
    store = Store(path, SAMPLES, SIZE)
    reserve = module._reserve

    def watched(file, size):
        reserve(file, size)
        with peak.get_lock():
            peak.value = max(peak.value, len(list(path.parent.iterdir())))
        time.sleep(0.2)

    module._reserve = watched
    store.write(0, 1, payload(0))


def test_one_process_at_a_time_allocates(tmp_path):
    """Or the drafts of all could fill the disk."""
    forks = multiprocessing.get_context('fork')
    peak, ready = forks.Value('i', 0), forks.Barrier(4)
    args = (tmp_path / 'cache' / 'records', peak, ready)
    processes = [forks.Process(target=allocate, args=args) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert peak.value == 1
    assert [path.name for path in args[0].parent.iterdir()] == ['records']


def test_no_space_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    store = Store(tmp_path / 'records', SAMPLES, SIZE)
    with pytest.raises(ClassroomError, match=r'No space left.*another model\.cache\.dir'):
        store.write(0, 1, payload(0))
    assert not list(tmp_path.iterdir())
