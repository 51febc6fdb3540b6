"""Download checkpoints, and check the SHA-256 that OpenMMLab's file names have."""

import hashlib
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier

from .errors import ClassroomError, reason

_PATIENCE = 60  # seconds in which a server must send something
# OpenMMLab's file names end with the start of the SHA-256: `-f257d4e6.pth`,
# `-71403f1c_20220913.pth`.
_HASH = re.compile(r'-(?!20\d{6}\b)([0-9a-f]{8,64})(?:_\d{8})?\.pth$')


def download(url: str, *, key: str = 'checkpoint') -> Path:
    """Download a file to torch.hub's directory, where MMEngine's own loader also looks for it.

    It is downloaded once per machine; all processes must call this function. An incomplete file
    never has the final name, and the SHA-256 in OpenMMLab's file names is checked. A file whose
    name has none is put into a folder of its URL, because many are called ``best.pth``.

    Args:
        url: Address of the file.
        key: Config key of ``url``, for messages.

    Returns:
        Path of the file.

    Raises:
        ClassroomError: The download failed, the server sent nothing for a minute, or the SHA-256
            differs from the one in the name.
    """
    name = _file_name(url)
    if name in ('', '..'):
        raise ClassroomError(f'{key} = {url!r} ends with no name of a file: give its whole URL.')
    digest = _HASH.search(name)
    folder = '' if digest else hashlib.sha256(url.encode()).hexdigest()[:16]
    path = Path(torch.hub.get_dir()) / 'checkpoints' / folder / name
    failure, patience = None, socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(patience or _PATIENCE)
        if int(os.environ.get('LOCAL_RANK', 0)) == 0 and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=True)
    except Exception as error:  # urllib raises various types for odd URLs and answers
        failure = error
    finally:
        socket.setdefaulttimeout(patience)
    barrier()  # also after a failure, because the other processes wait here
    if not path.is_file():
        why = (failure and reason(failure)) or 'by the first process of this machine'
        raise ClassroomError(
            f'{key} = {url!r} could not be downloaded ({why}). Fetch it by other means and '
            f'write its path instead, or put it at {path}.'
        ) from failure
    check_hash(path, f'{key} = {url!r}')
    return path


def _file_name(url: str) -> str:
    """Last part of a URL's path; '' if it has none."""
    try:
        return Path(urlparse(url).path).name
    except ValueError:  # such as 'http://['
        return ''


def check_hash(path: Path, where: str) -> None:
    """Compare a file with the SHA-256 in its name, if there is one.

    Args:
        path: An existing file.
        where: Config line of the file, for messages, such as
            ``model.mentors[1].checkpoint = 'x.pth'``.

    Raises:
        ClassroomError: The SHA-256 of the file differs from the one in its name.
    """
    expected = _HASH.search(path.name)
    if expected is None:
        return
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(expected[1]):
        raise ClassroomError(
            f'{where}: the SHA-256 of {path} begins with {digest.hexdigest()[:8]}, not with '
            f'{expected[1]} as its name says. Delete it and fetch it again, or, if it is what you '
            'want, rename it.'
        )
