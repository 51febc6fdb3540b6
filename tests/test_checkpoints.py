import http.server
import io
import os
import pickle
import re
import tarfile
import threading
from collections import OrderedDict
from functools import partial
from hashlib import sha256

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmpose.models import HeatmapHead
from torch import nn

from mmkd_classroom import checkpoints
from mmkd_classroom.checkpoints import (
    download,
    load_weights,
    read_checkpoint,
    register_safe_loader,
)
from mmkd_classroom.errors import ClassroomError


@pytest.fixture(params=['weights_only', 'restricted_unpickler'])
def each_unpickler(request, monkeypatch):
    """Both ways to read: that of PyTorch >= 2.6, and that of older ones."""
    current = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6)
    if request.param == 'weights_only' and not current:
        pytest.skip('needs PyTorch >= 2.6')
    if request.param == 'restricted_unpickler':
        monkeypatch.setattr(torch, '__version__', '2.1.0')
        # PyTorch 2.1 allows tensors and OrderedDict.
        unpickler = torch._weights_only_unpickler
        allowed = {
            name: value
            for name, value in unpickler._get_allowed_globals().items()
            if name.startswith('torch') or name == 'collections.OrderedDict'
        }
        monkeypatch.setattr(unpickler, '_get_allowed_globals', lambda: allowed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def mmengine_checkpoint(state_dict):
    """What MMEngine's own epoch_N.pth holds."""
    history = HistoryBuffer([0.5, 0.25], [1, 1])
    return dict(
        state_dict=state_dict,
        meta=dict(epoch=1, dataset_meta=dict(sigmas=np.ones(3, np.float32), name='coco')),
        message_hub=dict(
            log_scalars=OrderedDict(loss=history),
            runtime_info=dict(best=np.float64(0.5), ids=np.arange(3), day=np.datetime64(0, 'D')),
            resumed_keys=dict(loss=True),
        ),
    )


def assert_equal(model, state_dict):
    for name, value in model.state_dict().items():
        assert torch.equal(value, state_dict[name]), name


class TestReading:
    @pytest.mark.parametrize('zipped', [True, False])
    def test_mmengines_own(self, each_unpickler, model, tmp_path, zipped):
        path = tmp_path / 'epoch_1.pth'
        saved = mmengine_checkpoint(model.state_dict())
        torch.save(saved, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)

        content = read_checkpoint(path)

        assert_equal(model, content['state_dict'])
        history = content['message_hub']['log_scalars']['loss']
        assert type(history) is HistoryBuffer
        assert history.data[0].tolist() == [0.5, 0.25] and history.mean() == 0.375
        assert content['meta']['dataset_meta']['sigmas'].dtype == np.float32
        info = content['message_hub']['runtime_info']
        assert info['best'] == 0.5 and info['ids'].tolist() == [0, 1, 2]
        assert info['day'] == np.datetime64(0, 'D')

    def test_numpy_of_the_other_major_version(self, each_unpickler, tmp_path):
        path = tmp_path / 'x.pth'
        torch.save(dict(a=np.arange(3)), path, _use_new_zipfile_serialization=False)
        content = path.read_bytes()
        here, there = b'numpy._core.multiarray', b'numpy.core.multiarray'
        if here not in content:
            here, there = there, here
        path.write_bytes(content.replace(here, there))
        assert there in path.read_bytes()
        assert read_checkpoint(path)['a'].tolist() == [0, 1, 2]

    def test_statistics_of_live_histories_stay(self, each_unpickler, model, tmp_path):
        path = tmp_path / 'epoch_1.pth'
        torch.save(mmengine_checkpoint(model.state_dict()), path)
        before = dict(HistoryBuffer._statistics_methods)
        read_checkpoint(path)
        assert HistoryBuffer._statistics_methods == before
        assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2

    def test_mmengine_reads_so_too(self, each_unpickler, fresh_runners, model, tmp_path, capsys):
        path = tmp_path / 'epoch_1.pth'
        torch.save(mmengine_checkpoint(model.state_dict()), path)
        register_safe_loader()
        other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
        load_checkpoint(other, str(path))
        assert_equal(other, model.state_dict())
        said = capsys.readouterr().out  # of a file of one's own, too
        assert f'Loads checkpoint by weights_only backend from path: {path}' in said


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class TestRefusing:
    @pytest.mark.parametrize('zipped', [True, False])
    @pytest.mark.parametrize('function', ['system', 'eval', 'exec', 'open'])
    def test_code_is_not_run(self, each_unpickler, tmp_path, function, zipped):
        trace = tmp_path / 'trace'
        attack = {
            'system': Calls(os.system, f'touch {trace}'),
            'eval': Calls(eval, f'open({str(trace)!r}, "w")'),
            'exec': Calls(exec, f'open({str(trace)!r}, "w")'),
            'open': Calls(open, str(trace), 'w'),
        }[function]
        path = tmp_path / 'evil.pth'
        content = dict(state_dict=dict(w=torch.ones(1)), meta=attack)
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ClassroomError, match=rf'evil.pth.*refused.*{function}.*Nothing was'):
            read_checkpoint(path, key='model.mentors[0].checkpoint')
        assert not trace.exists()

    def test_getattr_leads_nowhere(self, each_unpickler, tmp_path):
        attack = Calls(getattr, Calls(getattr, HistoryBuffer, 'mean'), '__globals__')
        path = tmp_path / 'evil.pth'
        torch.save(dict(attack=attack, state_dict=dict(w=torch.ones(1))), path)
        assert read_checkpoint(path)['attack'] is None

    @pytest.mark.parametrize('zipped', [True, False])
    @pytest.mark.parametrize('share', [0.0, 0.3, 0.9, 0.999])
    def test_truncated(self, each_unpickler, model, tmp_path, share, zipped):
        path = tmp_path / 'cut.pth'
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ClassroomError, match=r'student.*cut\.pth.*truncated'):
            load_weights(model, path, key='student')

    def test_not_a_checkpoint(self, each_unpickler, tmp_path):
        path = tmp_path / 'page.pth'
        path.write_text('<html>404</html>')
        with pytest.raises(ClassroomError, match='no PyTorch checkpoint'):
            read_checkpoint(path)
        with tarfile.open(tmp_path / 'old.pth', 'w') as archive:
            archive.addfile(tarfile.TarInfo('../trace'), io.BytesIO())
        with pytest.raises(ClassroomError, match='a tar archive'):
            read_checkpoint(tmp_path / 'old.pth')

    def test_missing(self, tmp_path):
        with pytest.raises(ClassroomError, match=r"mentors\[1\].*'none\.pth'.*no such file"):
            read_checkpoint('none.pth', key='mentors[1].checkpoint')

    def test_no_dict(self, each_unpickler, tmp_path):
        torch.save(torch.ones(2), tmp_path / 'x.pth')
        with pytest.raises(ClassroomError, match='Tensor, not a dict'):
            read_checkpoint(tmp_path / 'x.pth')


class TestLoadingStrictly:
    @pytest.mark.parametrize('entry', [None, 'state_dict', 'model'])
    @pytest.mark.parametrize('prefix', ['', 'module.'])
    def test_layouts(self, model, tmp_path, entry, prefix):
        weights = OrderedDict((prefix + k, v) for k, v in model.state_dict().items())
        path = tmp_path / 'x.pth'
        torch.save(weights if entry is None else {entry: weights, 'meta': {}}, path)
        other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
        load_weights(other, path)
        assert_equal(other, model.state_dict())

    def test_without_weights(self, model, tmp_path):
        torch.save(dict(meta=dict(epoch=1), state_dict={}), tmp_path / 'x.pth')
        with pytest.raises(ClassroomError, match=r"no weights.*'meta', 'state_dict'"):
            load_weights(model, tmp_path / 'x.pth')

    def test_all_that_does_not_fit_is_one_error(self, model, tmp_path):
        path = tmp_path / 'other.pth'
        torch.save(nn.ModuleList([nn.Conv2d(3, 5, 3), nn.Identity(), *model[:2]]), path)
        weights = OrderedDict(model.state_dict())
        weights['0.weight'] = torch.zeros(5, 3, 3, 3)
        weights['stem.weight'] = weights.pop('0.bias')
        torch.save(weights, path)
        with pytest.raises(ClassroomError) as error:
            load_weights(model, path, key='model.mentors[1].checkpoint')
        message = str(error.value)
        assert f"model.mentors[1].checkpoint = '{path}' does not fit Sequential" in message
        assert 'Missing key(s) in state_dict: "0.bias"' in message
        assert 'Unexpected key(s) in state_dict: "stem.weight"' in message
        assert 'size mismatch for 0.weight' in message

    def test_long_lists_are_cut(self, tmp_path):
        path = tmp_path / 'x.pth'
        model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(30)))
        torch.save({f'{i}.weight': torch.ones(3, 3) for i in range(15)}, path)
        with pytest.raises(ClassroomError) as error:
            load_weights(model, path)
        message = str(error.value)
        assert '"24.weight" and 5 more' in message and '25.weight' not in message
        assert message.count('size mismatch') == 10 and 'and 5 more of another size' in message

    def test_hooks_for_old_versions_run(self, tmp_path):
        head = HeatmapHead(8, 17, deconv_out_channels=None, conv_out_channels=(4,),
                           conv_kernel_sizes=(1,))  # fmt: skip
        new = head.state_dict()
        # Before MMPose 1.0 the final layer's list held the layers before it, too.
        old = {
            re.sub(r'^final_layer\.', 'final_layer.3.', key).replace(
                'conv_layers', 'final_layer'
            ): value
            for key, value in new.items()
        }
        assert set(old) != set(new)
        torch.save(dict(state_dict=old), tmp_path / 'old.pth')
        other = HeatmapHead(8, 17, deconv_out_channels=None, conv_out_channels=(4,),
                            conv_kernel_sizes=(1,))  # fmt: skip
        load_weights(other, tmp_path / 'old.pth')
        assert_equal(other, new)

    def test_versions_survive_the_prefix(self, tmp_path):
        # BatchNorm's weights of version 1 have no num_batches_tracked; those of version 2 must.
        norm = nn.BatchNorm1d(3)
        weights = nn.DataParallel(norm).state_dict()
        del weights['module.num_batches_tracked']
        torch.save(weights, tmp_path / 'x.pth')
        with pytest.raises(ClassroomError, match='num_batches_tracked'):
            load_weights(norm, tmp_path / 'x.pth')
        torch.save(dict(weights), tmp_path / 'x.pth')
        load_weights(norm, tmp_path / 'x.pth')


class TestDownloading:
    @pytest.fixture
    def server(self, tmp_path):
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
    def cache(self, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
        return tmp_path / 'hub' / 'checkpoints'

    @pytest.mark.parametrize('name', ['x-{}.pth', 'x-256x192-{}_20220913.pth', 'x.pth'])
    def test_once(self, server, cache, model, name):
        directory, address, asked = server
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        name = name.format(sha256(buffer.getvalue()).hexdigest()[:8])
        (directory / name).write_bytes(buffer.getvalue())
        other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
        for _ in range(2):
            load_weights(other, f'{address}/{name}')
        assert_equal(other, model.state_dict())
        assert len(asked) == 1 and [path.name for path in cache.iterdir()] == [name]

    def test_wrong_hash_or_address(self, server, cache):
        directory, address, _ = server
        (directory / 'x-0123abcd.pth').write_bytes(b'not what the name says')
        for name, reason in [('x-0123abcd.pth', 'invalid hash value'), ('none.pth', '404')]:
            with pytest.raises(ClassroomError, match=rf'mentor = .*{name}.*{reason}'):
                download(f'{address}/{name}', key='mentor')
        assert not list(cache.iterdir())

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
    def test_names(self, name, digest):
        found = checkpoints._HASH.search(name)
        assert (found and found[1]) == digest

    def test_other_ranks_wait(self, monkeypatch, cache):
        waited = []
        monkeypatch.setattr(checkpoints, 'barrier', lambda: waited.append(True))
        monkeypatch.setenv('LOCAL_RANK', '1')
        assert download('http://127.0.0.1:9/x.pth') == cache / 'x.pth'
        assert waited and not cache.exists()
