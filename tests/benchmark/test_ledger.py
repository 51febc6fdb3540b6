"""The ledger: what a crash leaves of it is read, and a crash spoils no other line."""

import os

import pytest

from mmkd_classroom.benchmark.ledger import Ledger, locked
from mmkd_classroom.errors import ClassroomError


def test_lines_are_found_again(tmp_path):
    ledger = Ledger(tmp_path / 'new')
    ledger.add(dict(made_from='a', metrics=dict(PCK=0.5)))
    ledger.add(dict(made_from='b', metrics={}))
    again = Ledger(tmp_path / 'new')
    assert again.find('a') == ledger.find('a') == dict(made_from='a', metrics=dict(PCK=0.5))
    assert again.find('c') is None and again.find(None) is None


def test_each_line_is_on_the_disk_when_it_is_added(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda handle: synced.append(os.fstat(handle).st_size))
    ledger = Ledger(tmp_path)
    ledger.add(dict(made_from='a'))
    ledger.add(dict(made_from='b'))
    assert len(synced) == 2 and synced[-1] == ledger.path.stat().st_size


@pytest.mark.parametrize('kept', range(1, 18))
def test_torn_last_line_is_left_out(tmp_path, kept):
    ledger = Ledger(tmp_path)
    ledger.add(dict(made_from='a'))
    ledger.add(dict(made_from='b'))
    whole = ledger.path.read_bytes()
    first = whole.index(b'\n') + 1
    ledger.path.write_bytes(whole[: first + kept])
    again = Ledger(tmp_path)
    assert again.find('a') and not again.find('b')
    again.add(dict(made_from='c'))
    last = Ledger(tmp_path)
    assert last.find('a') and last.find('c') and not last.find('b')


def test_one_at_a_time(tmp_path):
    with locked(tmp_path / 'folder'):
        with pytest.raises(ClassroomError, match='Another benchmark'), locked(tmp_path / 'folder'):
            pass
    with locked(tmp_path / 'folder'):
        pass
