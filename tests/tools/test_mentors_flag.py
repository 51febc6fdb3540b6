"""A classroom without a config file: `train.py STUDENT --mentors ... --strategy ...`."""

import json
from pathlib import Path

import pytest
import torch
from fixtures import (
    write_class_config,
    write_class_dataset,
    write_classroom_config,
    write_pose_config,
    write_pose_dataset,
)
from mmengine.config import Config

from mmkd_classroom import command
from mmkd_classroom.compose import set_classroom, strategy_names

WRITERS = {
    'pose': (write_pose_dataset, write_pose_config),
    'class': (write_class_dataset, write_class_config),
}


@pytest.fixture(params=WRITERS)
def student(request, tmp_path, monkeypatch):
    """A stock config in the working directory; beside it a classroom with two mentors."""
    monkeypatch.chdir(tmp_path)
    write_dataset, write_config = WRITERS[request.param]
    path = write_config(tmp_path / 'student.py', write_dataset(tmp_path / 'data'), epochs=1)
    write_classroom_config(tmp_path / 'classroom.py', path)
    return path


MENTORS = [f'student.py=classroom_mentor_{index}.pth' for index in range(2)]


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_it_is_the_classroom_of_a_file(student, run_tool, tmp_path):
    run_tool('train', 'student.py', '--mentors', *MENTORS)
    run_tool('train', 'classroom.py', '--work-dir', 'file')
    run_tool('train', 'student.py', '--work-dir', 'alone')
    (work,) = (tmp_path / 'work_dirs').glob('student_classroom_*')
    ours = weights(work / 'epoch_1.pth')
    file, alone = weights('file/epoch_1.pth'), weights('alone/epoch_1.pth')
    assert list(ours) == list(file) == list(alone)
    assert all(torch.equal(value, file[name]) for name, value in ours.items())
    assert any(not torch.equal(value, alone[name]) for name, value in ours.items())

    # What the run leaves is tested and goes on by the flags that the README has for any other.
    dumped = (work / 'student.py').read_text()
    options = ['--out', 'metrics.json', '--cfg-options', 'model.cache.views=2']  # of the classroom
    run_tool('test', work / 'student.py', work / 'epoch_1.pth', *options)
    assert json.loads((tmp_path / 'metrics.json').read_text())
    assert (work / 'student.py').read_text() == dumped  # and not the student's
    options = ['--resume', '--cfg-options', 'train_cfg.max_epochs=2']
    run_tool('train', 'student.py', '--mentors', *MENTORS, *options)
    assert torch.load(work / 'epoch_2.pth', weights_only=True)['meta']['epoch'] == 2

    # Other mentors are another training, which does not go on in its folder.
    run_tool('train', 'student.py', '--mentors', MENTORS[0], *options)
    (other,) = set((tmp_path / 'work_dirs').glob('student_classroom_*')) - {work}
    assert (other / 'epoch_1.pth').exists()


@pytest.mark.parametrize('config', ['student.py', 'classroom.py'])
def test_strategy(config, student, run_tool, tmp_path):
    """It replaces that of a classroom; one that learns is trained."""
    mentors = ['--mentors', *MENTORS] if config == 'student.py' else []
    run_tool('train', config, *mentors, '--strategy', 'AMTML')
    name = 'student_classroom_*' if mentors else 'classroom'
    (path,) = (tmp_path / 'work_dirs').glob(f'{name}_AMTML/*.pth')
    used = Config.fromfile(path.with_name(config)).model
    assert used.strategy == dict(type='mmkd_classroom.AMTML')
    assert len(used.mentors) == 2


def test_paths_beside_the_config_are_found_by_what_reads_the_dumped_one(
    student, run_tool, tmp_path, monkeypatch
):
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    path = tmp_path / 'beside.py'
    path.write_text((tmp_path / 'classroom.py').read_text().replace(f'{tmp_path}/', ''))
    assert "'checkpoint': 'classroom_mentor_0.pth'" in path.read_text()
    run_tool('train', path, '--work-dir', 'run', '--no-validate')
    resume = ['--resume', '--cfg-options', 'train_cfg.max_epochs=2']
    run_tool('train', 'run/beside.py', '--work-dir', 'run', '--no-validate', *resume)
    assert Path('run/epoch_2.pth').exists()


def test_the_cache_of_a_config_that_says_none(student):
    cfg = Config.fromfile('classroom.py')
    cfg.model.cache = None
    set_classroom(cfg, cache='folder')
    assert cfg.model.cache == dict(dir='folder')


def test_mentors_replace_those_of_a_classroom(student, run_tool):
    run_tool('train', 'classroom.py', '--mentors', MENTORS[1], '--no-validate')
    (path,) = Path('work_dirs').glob('classroom_classroom_*/classroom.py')
    (entry,) = Config.fromfile(path).model.mentors
    assert entry.checkpoint == 'classroom_mentor_1.pth'


@pytest.mark.parametrize(
    'option, message',
    [
        ('strategy.type=AVER', r'strategy\.type: in a classroom this is model\.strategy\.type\.'),
        ('cache.views=2', r'cache\.views: in a classroom this is model\.cache\.views\.'),
        ('data_preprocessor.mean=None', r'this is model\.student\.data_preprocessor\.mean\.'),
        ('model.data_preprocessor.mean=None', r'this is model\.student\.data_pre'),
        ('model.head.loss=None', r'this is model\.student\.head\.loss\.'),
    ],
)
def test_stock_keys_of_options_are_told(option, message, student, run_tool):
    """They would change nothing, without a word."""
    if 'data_preprocessor' in option and 'data_preprocessor' in Config.fromfile(student):
        pytest.skip('MMPretrain has this key, too')
    with pytest.raises(SystemExit, match=message):
        run_tool('train', 'classroom.py', '--cfg-options', option)
    with pytest.raises(SystemExit, match=message):
        run_tool('cache_mentors', 'classroom.py', '--cfg-options', option)
    assert not Path('work_dirs').exists()


def test_random_mentors_are_the_same_when_training_is_resumed(student, run_tool, capsys):
    flags = ['student.py', '--mentors', 'student.py=None', '--cache', 'cache', '--no-validate']
    run_tool('train', *flags)
    run_tool('train', *flags, '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert len(list(Path('cache').iterdir())) == 1
    assert 'has random weights (checkpoint=None): it is for a dry run' in capsys.readouterr().out


@pytest.mark.parametrize('kind', ['mmpose', 'mmpretrain'])
def test_stock_prefixes(kind, run_tool, tmp_path, monkeypatch):
    """All by name, up to the weights of the zoo, which are not fetched."""
    monkeypatch.chdir(tmp_path)
    name = dict(
        mmpose='mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
        mmpretrain='mmpretrain::resnet/resnet18_8xb32_in1k.py',
    )[kind]
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))  # where nothing is cached
    monkeypatch.setattr(command, 'check_data', lambda cfg, loaders: None)  # COCO is not here
    with pytest.raises(SystemExit, match=r'model.mentors\[0\].checkpoint'):
        run_tool('train', name, '--mentors', name)
    (url,) = asked
    assert url.startswith('https://')


@pytest.mark.parametrize('student', ['class'], indirect=True)
@pytest.mark.parametrize(
    'flags, message',
    [
        (['--strategy', 'AMTML'], '--strategy AMTML needs mentors.*--mentors'),
        (['--mentors', *MENTORS, '--strategy', 'amtml'], r"'amtml'.*did you mean 'AMTML'.*choose"),
        (['--mentors', *MENTORS, '--strategy', 'CifarResNet'], "'CifarResNet' is not known"),
        (['--mentors', 'student.py'], 'student.py=CHECKPOINT'),
        (['--mentors', 'student.py='], 'student.py=CHECKPOINT'),
        (['--mentors', '=x.pth'], 'CONFIG=CHECKPOINT'),
        (['--mentors', 'studnt.py=x.pth'], "studnt.py'.*did you mean 'student.py'"),
        (['--mentors', 'student.py=x.pth'], 'x.pth'),
    ],
)
def test_mistakes(flags, message, student, run_tool):
    with pytest.raises(SystemExit, match=message):
        run_tool('train', 'student.py', '--work-dir', 'run', *flags)


def test_help_names_each_strategy(run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool('train', '--help')
    text = capsys.readouterr().out
    assert {'AMTML', 'ClassroomKD'} < set(strategy_names())
    assert all(name in text for name in strategy_names())
