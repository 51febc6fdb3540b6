"""Configs by name: ours beside those of the stock packages, as MMEngine reads them."""

from pathlib import Path

import pytest
import torch
from dataset_files import write_cifar10
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from toys import build, classifier

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hub import config_file, model_config
from mmkd_classroom.mentors.entry import read_entry

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
NAME = 'cifar10/resnet8_1xb128-200e_cifar10.py'
OURS = f'mmkd_classroom::{NAME}'
STOCK = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def test_our_configs_are_read_by_name():
    direct = Config.fromfile(CONFIGS / NAME).to_dict()
    assert get_config(OURS).to_dict() == direct
    assert read_entry(dict(config=OURS, checkpoint=None), 'mentor').config.to_dict() == direct
    assert Path(config_file(OURS, 'It')).resolve() == CONFIGS / NAME


def test_as_a_base_it_is_what_a_path_gives(tmp_path):
    """MMEngine would build a base of another package in the scope of that package."""
    (tmp_path / 'named.py').write_text(f'_base_ = [{OURS!r}]\nextra = _base_.model\n')
    (tmp_path / 'path.py').write_text(f'_base_ = [{str(CONFIGS / NAME)!r}]\nextra = _base_.model\n')
    named, path = (Config.fromfile(tmp_path / f'{name}.py') for name in ('named', 'path'))
    assert named.to_dict() == path.to_dict()


def test_a_config_on_a_named_base_trains(tmp_path, monkeypatch, fresh_runners):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / 'data' / 'cifar10')
    (tmp_path / 'config.py').write_text(f'_base_ = [{OURS!r}]\nwork_dir = "run"\n')
    cfg = Config.fromfile('config.py')
    cfg.train_cfg.max_epochs = cfg.default_hooks.checkpoint.interval = 1
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=5)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    Runner.from_cfg(cfg).train()
    assert torch.load('run/epoch_1.pth', weights_only=False)['meta']['iter'] == 2


def test_bases_of_other_packages_keep_their_scope(tmp_path):
    (tmp_path / 'config.py').write_text(f'_base_ = [{STOCK!r}]\n')
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.model._scope_ == 'mmpretrain'
    assert type(MODELS.build(cfg.model)).__name__ == 'ImageClassifier'


@pytest.mark.parametrize(
    'config, message',
    [
        (f'{OURS[:-4]}9.py', rf"The config '.*9.py': there is no .*\(did you mean '{NAME}'\?\)"),
        ('mmpos::body/x.py', "no package 'mmpos' is installed.*'mmpose'"),
        ('mmkd-classroom::x/y.py', "no package 'mmkd-classroom' is installed.*'mmkd_classroom'"),
        ('README.md', "'README.md' is not a config: its name ends with none of .*'.py'"),
        ('studnt.py', r"'studnt.py': there is no such config \(did you mean 'student.py'\?\)"),
    ],
)
def test_what_is_not_there_is_named(config, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'student.py').touch()
    (tmp_path / 'README.md').touch()
    with pytest.raises(ClassroomError, match=message):
        config_file(config, 'The config')


@pytest.mark.parametrize('beside', ['data_preprocessor', 'preprocess_cfg'])
def test_the_preprocessor_beside_a_model_is_the_model_s(beside):
    """A mentor without it would see other pixels than it was trained on."""
    model = classifier()
    preprocessor = model.pop('data_preprocessor')
    cfg = Config({'model': model, beside: preprocessor})
    assert model_config(cfg).data_preprocessor == preprocessor
    assert 'data_preprocessor' not in cfg.model
    own = dict(preprocessor, mean=[1.0] * 3)
    assert (
        model_config(Config(dict(cfg.to_dict(), model=dict(model, data_preprocessor=own))))[
            'data_preprocessor'
        ].mean
        == [1.0] * 3
    )
    room = MultiMentorDistiller(
        student=build(classifier()), mentors=[dict(config=cfg.to_dict(), checkpoint=None)]
    )
    (mentor,) = room.mentors
    expected = torch.tensor(preprocessor['mean'])
    torch.testing.assert_close(mentor.model.data_preprocessor.mean.flatten(), expected)
