"""Downloading checkpoints, from a server on this machine."""

import http.server
import io
import threading
from functools import partial
from hashlib import sha256

import pytest
import torch

from mmkd_classroom import downloads
from mmkd_classroom.checkpoints import read_checkpoint
from mmkd_classroom.downloads import download
from mmkd_classroom.errors import ClassroomError


@pytest.fixture
def server(tmp_path):
    """A directory, its address, and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    (tmp_path / 'served').mkdir()
    handler = partial(Handler, directory=str(tmp_path / 'served'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield tmp_path / 'served', f'http://127.0.0.1:{httpd.server_port}', asked
        httpd.shutdown()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


@pytest.mark.parametrize('name', ['x-{}.pth', 'x-256x192-{}_20220913.pth', 'x.pth'])
def test_once(server, cache, name):
    directory, address, asked = server
    weights, buffer = {'weight': torch.randn(2, 3)}, io.BytesIO()
    torch.save(weights, buffer)
    name = name.format(sha256(buffer.getvalue()).hexdigest()[:8])
    (directory / name).write_bytes(buffer.getvalue())
    for _ in range(2):
        read = read_checkpoint(f'{address}/{name}')
        assert torch.equal(read['weight'], weights['weight'])
    assert len(asked) == 1 and [path.name for path in cache.rglob('*.pth')] == [name]


def test_files_of_one_name_are_two(server, cache):
    directory, address, asked = server
    for number in (1, 2):
        (directory / str(number)).mkdir()
        torch.save({'weight': torch.tensor(number)}, directory / str(number) / 'best.pth')
    for number in (1, 2, 1):
        assert read_checkpoint(f'{address}/{number}/best.pth')['weight'] == number
    assert len(asked) == 2


def test_wrong_hash_or_address(server, cache):
    directory, address, _ = server
    (directory / 'x-0123abcd.pth').write_bytes(b'not what the name says')
    for name, reason in [('x-0123abcd.pth', 'invalid hash value'), ('none.pth', '404')]:
        with pytest.raises(ClassroomError, match=rf'mentor = .*{name}.*{reason}'):
            download(f'{address}/{name}', key='mentor')
    assert not list(cache.rglob('*.pth'))


@pytest.mark.parametrize(
    'name, digest',
    [
        ('td-hm_hrnet-w48_8xb32-210e_coco-256x192-0e67c616_20220913.pth', '0e67c616'),
        ('resnet18_8xb32_in1k_20210831-fbbb1da6.pth', 'fbbb1da6'),
        ('model-20220913.pth', None),
        ('model_20220913.pth', None),
        ('epoch_10.pth', None),
    ],
)
def test_names(name, digest):
    found = downloads._HASH.search(name)
    assert (found and found[1]) == digest


def test_other_ranks_wait(monkeypatch, cache):
    def arrives():
        cache.mkdir(parents=True)
        (cache / name).write_bytes(b'weights')

    name = f'x-{sha256(b"weights").hexdigest()[:8]}.pth'
    monkeypatch.setattr(downloads, 'barrier', arrives)
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert download(f'http://127.0.0.1:9/{name}') == cache / name


@pytest.mark.parametrize('rank, why', [('0', 'refused'), ('1', 'by the first process')])
def test_none_waits_for_ever(rank, why, monkeypatch, cache):
    waited = []
    monkeypatch.setattr(downloads, 'barrier', lambda: waited.append(True))
    monkeypatch.setenv('LOCAL_RANK', rank)
    with pytest.raises(ClassroomError, match=rf'could not be downloaded \(.*{why}'):
        download('http://127.0.0.1:9/x.pth')
    assert waited and not list(cache.rglob('*.pth'))


def test_what_lies_there_is_checked(cache):
    cache.mkdir(parents=True)
    (cache / 'x-0123abcd.pth').write_bytes(b'something else')
    message = r'mentor = .*x-0123abcd\.pth begins with [0-9a-f]{8}, not with 0123abcd'
    with pytest.raises(ClassroomError, match=message):
        download('http://127.0.0.1:9/x-0123abcd.pth', key='mentor')
