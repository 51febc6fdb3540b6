"""What may stand in model.mentors, and where its files are sought."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from mmengine import hub
from toys import classifier

from mmkd_classroom.errors import ClassroomError, did_you_mean
from mmkd_classroom.mentors.entry import read_entry

KEY = 'model.mentors[0]'
RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
RESNET_URL = (
    'https://download.openmmlab.com/mmclassification/v0/resnet/'
    'resnet18_8xb32_in1k_20210831-fbbb1da6.pth'
)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory beside the folder with the mentor's config."""
    for name in ('here', 'there'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    (tmp_path / 'there' / 'mentor.py').write_text(f'model = {classifier()!r}')
    return tmp_path


def refused(cfg, message, options=()):
    with pytest.raises(ClassroomError) as caught:
        read_entry(cfg, KEY, options)
    assert str(caught.value).startswith(KEY)
    assert message in str(caught.value), str(caught.value)
    return str(caught.value)


# --- its form -----------------------------------------------------------------------------------


def test_a_string_is_a_config_with_its_zoo_s_weights():
    entry = read_entry(RESNET, KEY)
    assert entry.config.model.backbone.depth == 18
    assert entry.checkpoint == RESNET_URL
    assert entry.options == dict(config=RESNET, checkpoint='zoo')
    assert read_entry(dict(config=RESNET, checkpoint='zoo'), KEY).checkpoint == RESNET_URL


def test_a_path_alone_lacks_its_weights():
    refused('my/config.py', "write dict(config='my/config.py', checkpoint=...)")


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(config='x.py'), "lacks 'checkpoint'. A mentor is dict(config="),
        (dict(checkpoint='x.pth'), "lacks 'config'."),
        (dict(), "lacks 'config' and lacks 'checkpoint'."),
        (dict(weights=1), "has the unknown key 'weights'."),
        (dict(nmae='a'), "has the unknown key 'nmae' (did you mean 'name'?)"),
        (dict(channel_last=True), "'channel_last' (did you mean 'channels_last'?)"),
        (dict(keypoints_map={}), "'keypoints_map' (did you mean 'keypoint_map'?)"),
        (
            dict(config='x.py', chekpoint='x.pth'),
            "lacks 'checkpoint' and has the unknown key 'chekpoint' (did you mean 'checkpoint'?)",
        ),
        (None, 'is None. A mentor is dict(config='),
    ],
)
def test_keys(cfg, message):
    if cfg and not {'config', 'checkpoint'} & set(cfg):
        cfg = dict(config='x.py', checkpoint=None, **cfg)
    refused(cfg, message, {'keypoint_map', 'metainfo'})


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(config=3), ".config is 3: give a path, 'package::path' or a dict with `model`."),
        (dict(config=''), ".config is '': give a path"),
        (dict(checkpoint=3), ".checkpoint is 3: give 'zoo', a path, a URL, or None for random"),
        (dict(checkpoint=''), ".checkpoint is '': give 'zoo'"),
        (dict(checkpoint=False), '.checkpoint is False: give'),
        (dict(name=5), '.name is 5: give a string.'),
        (dict(channels_last='yes'), ".channels_last is 'yes': give True or False."),
        (dict(flip_channels='no'), ".flip_channels is 'no': give True, False, or None"),
        (dict(precision=16), '.precision is 16: give one of fp32, fp16, bf16.'),
        (
            dict(precision='FP16'),
            ".precision is 'FP16' (did you mean 'fp16'?): choose one of",
        ),
        (dict(input_size=224), '.input_size is 224: give (width, height) in pixels.'),
        (dict(input_size=('a', 'b')), ".input_size is ('a', 'b'): give (width, height)"),
        (dict(input_size=(224, 0)), '.input_size is (224, 0): give'),
        (dict(input_size=(1, 2, 3)), '.input_size is (1, 2, 3): give'),
        (dict(config=dict(backbone=1)), '.config has no `model`'),
        (dict(config=dict(model=1)), '.config has no `model`'),
        (dict(config=dict(filename='x')), '.config could not be loaded (KeyError: filename is'),
    ],
)
def test_types(wrong, message):
    refused(dict(dict(config=dict(model=classifier()), checkpoint=None), **wrong), message)


# --- its config ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'config, message',
    [
        ('mmpretrain::resnet/resnet18_8xb32_in1.py', "mean 'resnet/resnet18_8xb32_in1k.py'?)"),
        ('mmpretrain::', 'there is no such config'),
        ('mmpretrain::a::b.py', 'there is no such config'),
        ('mmpretrian::resnet/resnet18_8xb32_in1k.py', "(did you mean 'mmpretrain'?)"),
        ('mmcls::resnet/resnet18_8xb32_in1k.py', "no package 'mmcls' is installed"),
        ('::x.py', "no package '' is installed"),
        ('a.b::x.py', "no package 'a.b' is installed"),
    ],
)
def test_unknown_packages_and_configs(config, message, monkeypatch):
    monkeypatch.setattr(hub.hub, 'install_package', lambda _: pytest.fail('pip was called'))
    refused(dict(config=config, checkpoint=None), message)


@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(type=', "(SyntaxError: '(' was never closed (<unknown>, line 1): model = "),
        (
            'size = 3\nmodel = dict(size=sise)',
            "(NameError: name 'sise' is not defined in line 2 of ",
        ),
        (
            "_base_ = ['no_such_base.py']",
            "(FileNotFoundError: [Errno 2] No such file or directory: '",
        ),
        ("_base_ = ['wrong_base.py']", '(ZeroDivisionError: division by zero in line 2 of '),
        ("custom_imports = dict(imports=['no_such_module'])", 'import custom modules'),
    ],
)
def test_errors_in_a_config_file(text, message, elsewhere):
    (elsewhere / 'here' / 'wrong_base.py').write_text('zero = 0\nmodel = dict(depth=1 / zero)')
    (elsewhere / 'here' / 'x.py').write_text(text)
    said = refused(dict(config='x.py', checkpoint=None), message)
    assert ('no_such' in text) == ('no_such' in said)
    assert said.startswith(f"{KEY}.config = 'x.py' could not be loaded (")


@pytest.mark.parametrize(
    'config, why',
    [
        (
            'mmpretrain::mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py',
            'its Weights are null',
        ),
        ('mmpretrain::resnet/resnet50_8xb16-mixup_cifar10.py', 'in no metafile'),
    ],
)
def test_a_zoo_without_weights_is_no_random_mentor(config, why):
    read_entry(dict(config=config, checkpoint=None), KEY)
    refused(config, f"mmpretrain's model zoo lists no weights for {KEY}.config = {config!r}")


def test_a_file_or_dict_is_in_no_zoo(elsewhere):
    config = str(elsewhere / 'there' / 'mentor.py')
    refused(
        dict(config=config, checkpoint='zoo'),
        f".checkpoint is 'zoo', but {KEY}.config is {config!r}",
    )
    refused(
        dict(config=dict(model=classifier()), checkpoint='zoo'), f'{KEY}.config is a dict: only'
    )


# --- where files are sought ---------------------------------------------------------------------


def test_a_relative_checkpoint_is_sought_here_and_beside_the_mentor_s_config(elsewhere):
    cfg = dict(config='../there/mentor.py', checkpoint='x.pth')
    places = [elsewhere / folder / 'x.pth' for folder in ('here', 'there')]
    refused(
        cfg,
        f"checkpoint = 'x.pth': there is no such file. It was sought at {places[0]} and "
        f'{places[1]}.',
    )
    for place in reversed(places):
        place.touch()
        assert read_entry(cfg, KEY).checkpoint == str(place)


def test_a_relative_config_is_sought_here(elsewhere, monkeypatch):
    refused(
        dict(config='mentor.py', checkpoint=None), f'sought at {elsewhere / "here" / "mentor.py"}.'
    )
    monkeypatch.chdir(elsewhere / 'there')
    assert read_entry(dict(config='mentor.py', checkpoint=None), KEY).config.model.head


def test_paths_may_be_objects_and_start_at_home(elsewhere, monkeypatch):
    monkeypatch.setenv('HOME', str(elsewhere))
    (elsewhere / 'x.pth').touch()
    entry = read_entry(
        dict(config=elsewhere / 'there' / 'mentor.py', checkpoint=Path('~/x.pth')), KEY
    )
    assert entry.checkpoint == str(elsewhere / 'x.pth')


@pytest.mark.parametrize(
    'checkpoint, message',
    [
        ('epoch_1O.pth', "there is no such file (did you mean 'epoch_10.pth'?)"),
        ('Zoo', "there is no such file (did you mean 'zoo'?)"),
        ('torchvision://resnet18', 'give a path, or a URL with http:// or https://.'),
        ('../there', 'there is no such file'),
    ],
)
def test_a_checkpoint_that_is_not_there(checkpoint, message, elsewhere):
    (elsewhere / 'there' / 'epoch_10.pth').touch()
    refused(dict(config='../there/mentor.py', checkpoint=checkpoint), message)


def test_a_file_is_what_its_name_says(elsewhere):
    path = Path('x.pth')
    torch.save({}, path)
    digest = sha256(path.read_bytes()).hexdigest()[:8]
    cfg = dict(config='../there/mentor.py')
    path = path.rename(f'x-{digest}_20260101.pth')
    assert read_entry(dict(cfg, checkpoint=str(path)), KEY).checkpoint == str(path.absolute())
    path.write_bytes(path.read_bytes()[:-1])
    message = f'begins with {sha256(path.read_bytes()).hexdigest()[:8]}, not with {digest} as its'
    refused(dict(cfg, checkpoint=str(path)), message)


def test_did_you_mean():
    assert did_you_mean('TAUMAX', ['tau_max', 'weight']) == " (did you mean 'tau_max'?)"
    assert did_you_mean('zebra', ['tau_max', 'weight']) == ''
