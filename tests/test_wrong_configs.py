"""Each wrong config of the documentation has the message that stands beside it."""

import json
import os
import pickle
import re

import pytest
import runs
import torch
from mmengine.config import Config
from wrong_configs import CASES


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A classroom of each kind, and beside it the files that are wrong."""
    return {kind: written(kind, tmp_path_factory.mktemp(kind)) for kind in ('classes', 'pose')}


def written(kind, folder):
    cfg = runs.config(kind, folder, epochs=1)
    for entry in cfg.model.mentors:
        entry.update(config='student.py', checkpoint=entry.checkpoint.rsplit('/', 1)[-1])
    cfg.dump(folder / 'right.py')
    (folder / 'broken.py').write_text('model = dict(type=\n')
    (folder / 'data.py').write_text('dataset = dict()\n')
    (folder / 'page.pth').write_text('<html>404</html>')
    (folder / 'classes.pkl').write_bytes(pickle.dumps([0, 1, 2]))
    weights = torch.load(folder / 'classroom_mentor_0.pth')
    weights['backbone.conv1.weight'] = weights['backbone.conv1.weight'][:4]
    torch.save(weights, folder / 'other.pth')
    torch.save(dict(epoch=3), folder / 'epoch.pth')
    torch.save(dict(state_dict={}, meta=Evil()), folder / 'code.pth')
    torch.save(dict(state_dict=[1]), folder / 'list.pth')
    if kind == 'pose':
        data = folder / 'data'
        right = json.loads((data / 'train.json').read_text())
        (data / 'empty.json').touch()
        (data / 'page.json').write_text('<html>404</html>')
        (data / 'no_people.json').write_text(json.dumps({**right, 'annotations': []}))
        for person in right['annotations']:
            person['keypoints'] = person['keypoints'][: 14 * 3]
        (data / 'fourteen.json').write_text(json.dumps(right))
    return folder


class Evil:
    def __reduce__(self):
        return os.system, ('false',)


def named(case):
    (key, value), *_ = case.change.items()
    return f'{case.kind}-{key}-{value}'[:80].replace('/', '_')


@pytest.mark.parametrize('case', CASES, ids=named)
def test_a_wrong_config(case, folders, run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(folders[case.kind])
    cfg = Config.fromfile('right.py')
    cfg.merge_from_dict(case.change)
    lines = [f'{key} = {value!r}' for key, value in cfg.to_dict().items()]
    (tmp_path / 'wrong.py').write_text('\n'.join(lines))
    with pytest.raises(SystemExit) as caught:
        run_tool('train', tmp_path / 'wrong.py', '--work-dir', tmp_path / 'work')
    said = str(caught.value).strip()
    assert re.fullmatch('.*'.join(map(re.escape, case.message.split('…'))), said, re.DOTALL), said
    assert not list(tmp_path.rglob('*.pth'))


def test_there_are_many():
    assert len(CASES) >= 40 and all(len(case.message) > 20 for case in CASES)
