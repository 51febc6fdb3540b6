import inspect
import io
import os
import pickle
import re
import tarfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from mmpose.models import HeatmapHead
from mmpretrain.models.backbones import beit, swin_transformer
from torch import nn

from mmkd_classroom.checkpoints import (
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

    def test_what_older_versions_refuse_though_it_is_plain(self, each_unpickler, tmp_path):
        """PlainCheckpointHook leaves these as they are."""
        values = [{1, 2}, 2j, b'x', bytearray(b'y'), torch.uint8, torch.device('cpu')]
        torch.save(dict(state_dict={}, meta=values), tmp_path / 'x.pth')
        assert read_checkpoint(tmp_path / 'x.pth')['meta'] == values

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


VIT = dict(
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
)
SWIN = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2])
# Every backbone that has its own way to load, small.
LOADING_BACKBONES = dict(
    BEiTViT=dict(VIT, use_abs_pos_emb=False, use_rel_pos_bias=True),
    DeiT3=VIT,
    DistilledVisionTransformer=VIT,
    RevVisionTransformer=VIT,
    SwinTransformer=dict(arch=SWIN, img_size=32, window_size=4, out_indices=(1,)),
    SwinTransformerV2=dict(
        arch=dict(SWIN, extra_norm_every_n_blocks=0), img_size=32, window_size=4, out_indices=(1,)
    ),
    T2T_ViT=dict(
        img_size=32,
        embed_dims=32,
        num_layers=2,
        layer_cfgs=dict(num_heads=2, feedforward_channels=32),
    ),
    ViTEVA02=VIT,
    ViTSAM=dict(
        VIT, arch=dict(VIT['arch'], global_attn_indexes=[1]), window_size=2, use_rel_pos=True
    ),
    VisionTransformer=VIT,
)
# What a backbone drops even from its own weights, because it makes it anew.
MADE_ANEW = dict(SwinTransformerV2={'relative_coords_table', 'relative_position_index'})


def loads_its_own_way(cls):
    own_way = re.compile('load_state_dict_(pre|post)_hook|_load_from_state_dict')
    return any(
        own_way.search(inspect.getsource(parent))
        for parent in cls.__mro__
        if parent.__module__.startswith(('mmpose', 'mmpretrain'))
    )


def transformer(name, seed, **options):
    """A classifier whose every parameter depends on the seed."""
    backbone = dict(dict(LOADING_BACKBONES[name], type=name), **options)
    head = dict(type='LinearClsHead', num_classes=2, in_channels=4)
    model = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


class TestArchitecturesThatLoadTheirOwnWay:
    def test_all_of_them_are_here(self):
        import mmpose.models
        import mmpretrain.models

        found = {
            name
            for package in (mmpose.models.backbones, mmpretrain.models.backbones)
            for name, cls in vars(package).items()
            if inspect.isclass(cls) and loads_its_own_way(cls)
        }
        assert found == set(LOADING_BACKBONES)

    @pytest.mark.parametrize('name', LOADING_BACKBONES)
    def test_a_model_s_own_weights_fit(self, name, tmp_path):
        saved, other = transformer(name, 0), transformer(name, 1)
        torch.save(saved.state_dict(), tmp_path / 'own.pth')
        load_weights(other, tmp_path / 'own.pth')
        assert_equal(other, saved.state_dict())

    @pytest.mark.parametrize('name', LOADING_BACKBONES)
    def test_but_not_without_one_of_them(self, name, tmp_path):
        model, path = transformer(name, 0), tmp_path / 'x.pth'
        kinds = {key.split('.')[-1]: key for key in model.state_dict()}
        refused = set()
        for kind, key in kinds.items():
            weights = model.state_dict()
            del weights[key]
            torch.save(weights, path)
            try:
                load_weights(model, path)
            except ClassroomError as error:
                assert f'Missing key(s) in state_dict: "{key}"' in str(error)
                refused.add(kind)
        assert set(kinds) - refused == MADE_ANEW.get(name, set())

    @pytest.mark.parametrize(
        'name, options',
        [
            ('SwinTransformer', dict(window_size=2)),
            ('SwinTransformerV2', dict(window_size=2)),
            ('BEiTViT', dict(img_size=48)),
        ],
    )
    def test_tables_of_another_size_are_resized_and_their_index_made_anew(
        self, name, options, tmp_path, monkeypatch
    ):
        def resize(ours, theirs, table, heads):  # MMPretrain's needs a function that SciPy dropped
            table = table.T.view(1, heads, ours, ours)
            return nn.functional.interpolate(table, (theirs, theirs)).view(heads, -1).T

        for module in (swin_transformer, beit):
            monkeypatch.setattr(module, 'resize_relative_position_bias_table', resize)
        saved, path = transformer(name, 0), tmp_path / 'x.pth'
        weights = saved.state_dict()
        torch.save(weights, path)
        other = transformer(name, 1, **options)
        fresh = {key: value.clone() for key, value in other.state_dict().items()}
        load_weights(other, path)
        for key, value in other.state_dict().items():
            if key.endswith('relative_position_index'):
                assert torch.equal(value, fresh[key])
            elif value.shape == weights[key].shape and 'coords' not in key:
                assert torch.equal(value, weights[key]), key
            elif 'coords' not in key:
                assert not torch.equal(value, fresh[key]), key
        del weights['head.fc.weight']
        torch.save(weights, path)
        with pytest.raises(ClassroomError, match=r'Missing key.*head\.fc\.weight'):
            load_weights(other, path)

    def test_what_a_hook_raises_is_told(self, tmp_path):
        model = nn.Linear(2, 2)
        torch.save(model.state_dict(), tmp_path / 'x.pth')
        model._register_load_state_dict_pre_hook(lambda weights, *_: weights['index'])
        with pytest.raises(ClassroomError, match=r'does not fit Linear:\nKeyError: index\nGive'):
            load_weights(model, tmp_path / 'x.pth')

    @pytest.mark.parametrize('learned', [True, False])
    def test_what_was_learned_is_never_made_anew(self, learned, tmp_path):
        model = nn.Linear(2, 2, bias=False)
        if not learned:
            model.register_buffer('weight', model._parameters.pop('weight').detach())
        model._register_load_state_dict_pre_hook(lambda weights, *_: weights.pop('weight', None))
        torch.save(model.state_dict(), tmp_path / 'x.pth')
        if not learned:
            return load_weights(model, tmp_path / 'x.pth')
        with pytest.raises(ClassroomError, match='Missing key.*weight'):
            load_weights(model, tmp_path / 'x.pth')
