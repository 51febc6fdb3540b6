"""The wheel in an environment of its own, away from the repository."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch
from dataset_files import write_cifar10
from mmengine.hub import get_config

ROOT = Path(__file__).resolve().parent.parent
STUDENT = 'mmkd_classroom::cifar10/resnet8_1xb128-200e_cifar10.py'
OPTIONS = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.batch_size': 5,  # of ten images
    'default_hooks.checkpoint.interval': 1,
    **{
        f'{split}_dataloader.{key}': value
        for split in ('train', 'test')
        for key, value in (('num_workers', 0), ('persistent_workers', False))
    },
}
CLASSROOM = f"""
_base_ = [{STUDENT!r}]
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[dict(name='mentor', config={STUDENT!r}, checkpoint='mentor.pth')],
)
"""
PLAN = f"""
classroom = '{{{{fileDirname}}}}/classroom.py'
seeds = [0]
metrics = [dict(key='accuracy/top1')]
methods = [dict(name='alone', alone=True), dict(name='taught')]
options = {OPTIONS}
mentor_options = options
"""


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the repository, in which it can be built."""
    folder = tmp_path_factory.mktemp('source')
    for name in ('mmkd_classroom', 'configs', 'tools'):
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope='module')
def wheel(source):
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    check([sys.executable, '-W', 'ignore', '-c', code], source)
    (path,) = (source / 'dist').glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp('wheel'), wheel)


def environment(folder, *install):
    """Python of an environment with OpenMMLab from this one, and with what pip is told."""
    venv.create(folder, with_pip=True)
    python = folder / 'bin' / 'python'
    (site,) = folder.glob('lib/*/site-packages')
    # No .pth file in these folders is read, so an editable install is not seen.
    here = [path for path in sys.path if path.endswith(('site-packages', 'dist-packages'))]
    (site / 'openmmlab.pth').write_text('\n'.join(here))
    pip = [python, '-W', 'ignore', '-m', 'pip', '--disable-pip-version-check', 'install']
    check([*pip, '--no-index', '--no-deps', '--no-build-isolation', *install], folder)
    return python


@pytest.fixture
def work(tmp_path):
    """A folder with ten images and a mentor's weights."""
    from mmengine.registry import MODELS, DefaultScope

    write_cifar10(tmp_path / 'data' / 'cifar10')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(get_config(STUDENT).model)
    torch.save(model.state_dict(), tmp_path / 'mentor.pth')
    return tmp_path


def check(command, folder):
    """Run a command away from the repository, and return what it prints."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    environment.pop('PYTHONPATH', None)
    command = list(map(str, command))
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f'{result.stdout[-2000:]}\n{result.stderr[-3000:]}'
    return result.stdout


def test_configs_and_tools_are_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('*.py')}
    assert {f'mmkd_classroom/.mim/{name}' for name in configs} < names
    assert 'mmkd_classroom/.mim/tools/dist_train.sh' in names
    assert not any(name.startswith(('tests', 'configs', 'tools')) for name in names)


@pytest.mark.slow
def test_commands_of_the_wheel(installed, work):
    where = check([installed, '-c', 'import mmkd_classroom as m; print(m.__file__)'], work)
    assert where.startswith(str(installed.parents[1]))

    options = ['--cfg-options', *(f'{key}={value}' for key, value in OPTIONS.items())]
    train = ['mmkd_classroom.train', STUDENT, '--mentors', f'{STUDENT}=mentor.pth', '--no-validate']
    check([installed, '-m', *train, '--work-dir', 'run', *options], work)
    content = torch.load(work / 'run' / 'epoch_1.pth', weights_only=True)
    assert content['meta']['iter'] == 2
    assert 'train/loss_mentors' in content['message_hub']['log_scalars']

    test = ['mmkd_classroom.test', STUDENT, 'run/epoch_1.pth', '--out', 'metrics.json']
    check([installed, '-m', *test, '--work-dir', 'test', *options[:1], *options[-2:]], work)
    assert 'accuracy/top1' in (work / 'metrics.json').read_text()


@pytest.mark.slow
def test_configs_of_an_editable_install(source, work):
    python = environment(work / 'editable', '--editable', source)
    (work / 'config.py').write_text(CLASSROOM)
    code = (
        'import mmkd_classroom, mmengine\n'
        'from mmengine.hub import get_config\n'
        f'print(get_config({STUDENT!r}).filename)\n'
        'print(mmengine.Config.fromfile("config.py").model.student.backbone.type)'
    )
    printed = check([python, '-W', 'ignore', '-c', code], work).splitlines()
    assert printed[0].startswith(str(source))
    assert printed[1] == 'mmkd_classroom.CifarResNet'


@pytest.mark.slow
def test_the_wheels_benchmark(installed, work):
    (work / 'classroom.py').write_text(CLASSROOM)
    (work / 'plan.py').write_text(PLAN)
    table = check([installed, '-m', 'mmkd_classroom.benchmark', 'plan.py'], work)
    assert '| taught |' in table and '| mentor |' in table
    logs = list((work / 'work_dirs').rglob('train.log'))
    assert len(logs) == 2
