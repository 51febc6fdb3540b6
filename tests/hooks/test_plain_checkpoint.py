import pickle
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import write_pose_config, write_pose_dataset
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner, load_checkpoint
from mmengine.utils import digit_version
from mmpose.apis import init_model
from torch import nn

from mmkd_classroom.hooks import plain_checkpoint
from mmkd_classroom.hooks.plain_checkpoint import plain
from mmkd_classroom.unpickling import unpickle


class Colour(Enum):
    RED = 'red'


Point = namedtuple('Point', 'x y')


def loads_plainly(value, path):
    """Save and load as PyTorch does by default since 2.6; before, as :func:`read_checkpoint`."""
    torch.save(value, path)
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        return unpickle(path)
    return torch.load(path, weights_only=True)


class TestPlain:
    @pytest.mark.parametrize(
        'value, expected',
        [
            (np.float64(0.5), 0.5),
            (np.float32(0.1), float(np.float32(0.1))),
            (np.int64(3), 3),
            (np.bool_(True), True),
            (np.str_('a'), 'a'),
            (np.array(['a', 'b']), ['a', 'b']),
            (np.array([None, 1], dtype=object), [None, 1]),
            (ConfigDict(a=ConfigDict(b=(1, np.int8(2)))), dict(a=dict(b=(1, 2)))),
            (defaultdict(list, a=[1]), dict(a=[1])),
            (Counter('aab'), dict(a=2, b=1)),
            (Point(1, np.float64(2)), (1, 2.0)),
            (frozenset([1, 2]), {1, 2}),
            (Path('a/b'), str(Path('a/b'))),
            (Colour.RED, 'red'),
            ({np.int64(1): 'a'}, {1: 'a'}),
            ([torch.float32, torch.Size([2]), None, b'x', 2j], None),
        ],
    )
    def test_types(self, value, expected, tmp_path):
        expected = value if expected is None else expected
        found = loads_plainly(plain(value), tmp_path / 'x.pth')
        assert found == expected and type(found) is type(expected)

    @pytest.mark.parametrize('dtype', ['float32', 'float64', 'uint8', 'int64', 'bool', 'int16'])
    @pytest.mark.parametrize('shape', [(), (0,), (2, 3)])
    def test_arrays_keep_type_and_shape(self, dtype, shape, tmp_path):
        array = np.ones(shape[::-1], dtype).T
        found = loads_plainly(plain(array), tmp_path / 'x.pth').numpy()
        assert found.dtype == array.dtype and found.shape == shape and (found == array).all()

    def test_live_objects_stay_as_they_are(self):
        array = np.zeros(2)
        live = dict(a=[np.float64(1)], b=array, c=HistoryBuffer([1.0], [1]))
        saved = plain(live)
        array += 1
        live['c'].update(2.0)
        assert type(live['a'][0]) is np.float64 and live['b'] is array
        assert (
            saved['b'].tolist() == [0, 0] and len(saved['c']['HistoryBuffer']['log_history']) == 1
        )

    def test_what_is_plain_is_not_copied(self):
        weights = nn.BatchNorm1d(2).state_dict()  # its versions are in an attribute
        value = dict(state_dict=weights, a=[1, (2, 'x')], b=OrderedDict(c=torch.ones(1)))
        assert plain(value) is value

    def test_anything_else_is_named(self, monkeypatch, tmp_path):
        warnings = []
        monkeypatch.setattr(
            plain_checkpoint, 'print_log', lambda text, *_, **__: warnings.append(text)
        )
        found = loads_plainly(plain(dict(a=[0, nn.Identity()]), 'meta'), tmp_path / 'x.pth')
        assert found == dict(a=[0, 'Identity()'])
        assert len(warnings) == 1 and "meta['a'][1] is a Identity" in warnings[0]


@pytest.fixture
def train(fresh_runners, tmp_path):
    """Train the small pose model for some epochs, with EMA."""
    path = write_pose_config(tmp_path / 'pose.py', write_pose_dataset(tmp_path / 'data'))

    def run(work_dir, epochs, hook=True, **options):
        fresh_runners()
        cfg = Config.fromfile(path)
        cfg.work_dir = str(tmp_path / work_dir)
        cfg.custom_hooks = [dict(type='mmkd_classroom.PlainCheckpointHook')] * hook + [
            dict(type='EMAHook', priority='VERY_LOW')
        ]
        cfg.default_hooks.checkpoint.update(save_best='PCK', rule='greater')
        cfg.merge_from_dict(dict(options, **{'train_cfg.max_epochs': epochs}))
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner, f'{cfg.work_dir}/epoch_{epochs}.pth'

    return run


def test_epochs_load_by_default_and_resume_exactly(train):
    runner, path = train('run', 2)
    content = torch.load(path, weights_only=True)
    assert {'optimizer', 'param_schedulers', 'ema_state_dict', 'message_hub'} <= set(content)
    sigmas = content['meta']['dataset_meta']['sigmas']
    assert torch.equal(sigmas, torch.from_numpy(runner.train_dataloader.dataset.metainfo['sigmas']))

    resumed, _ = train('run', 3, resume=True)
    log = next(Path(resumed.log_dir).glob('*.log')).read_text()
    assert 'resumed epoch: 2, iter: 4' in log
    assert 'metainfo from the resumed checkpoint is different' not in log  # else a false alarm
    for name, saved in content['message_hub']['log_scalars'].items():
        saved = saved['HistoryBuffer']
        history = resumed.message_hub.get_scalar(name)
        assert type(history) is HistoryBuffer and history.max_length == saved['max_length']
        for mine, other in zip(history.data, (saved['log_history'], saved['count_history'])):
            assert mine.dtype == other.numpy().dtype, name
            assert (mine[: len(other)] == other.numpy()).all(), name
    assert len(resumed.message_hub.get_scalar('train/loss').data[0]) == 6


def test_stock_files_do_not_load_by_default(train):
    """The reason for the hook."""
    _, path = train('run', 1, hook=False)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_stock_api_takes_the_metainfo(train, tmp_path):
    _, path = train('run', 1)
    model = init_model(str(tmp_path / 'pose.py'), path, device='cpu')
    assert model.dataset_meta['sigmas'].shape == (17,)
    weights = load_checkpoint(model, path)['state_dict']
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
