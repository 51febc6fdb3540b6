"""Results on disk: a crash in the middle of a line spoils no other line."""

import os

import pytest

from mmkd_classroom.benchmark.store import ResultStore, locked
from mmkd_classroom.errors import ClassroomError


def test_lines_are_found_again(tmp_path):
    store = ResultStore(tmp_path / 'new')
    store.add(dict(run_id='a', metrics=dict(PCK=0.5)))
    store.add(dict(run_id='b', metrics={}))
    again = ResultStore(tmp_path / 'new')
    assert again.find('a') == store.find('a') == dict(run_id='a', metrics=dict(PCK=0.5))
    assert again.find('c') is None and again.find(None) is None


def test_each_line_is_on_the_disk_when_it_is_added(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda handle: synced.append(os.fstat(handle).st_size))
    store = ResultStore(tmp_path)
    store.add(dict(run_id='a'))
    store.add(dict(run_id='b'))
    assert len(synced) == 2 and synced[-1] == store.path.stat().st_size


def test_torn_last_line_is_left_out(tmp_path):
    first, second = (f'{{"run_id": "{name}"}}\n'.encode() for name in 'ab')
    for kept in range(1, len(second) - 1):
        path = tmp_path / 'results.jsonl'
        path.write_bytes(first + second[:kept])
        again = ResultStore(tmp_path)
        assert again.find('a') and not again.find('b')
        again.add(dict(run_id='c'))
        last = ResultStore(tmp_path)
        assert last.find('a') and last.find('c') and not last.find('b')


def test_one_at_a_time(tmp_path):
    with locked(tmp_path / 'folder'):
        with pytest.raises(ClassroomError, match='Another benchmark'), locked(tmp_path / 'folder'):
            pass
    with locked(tmp_path / 'folder'):
        pass
