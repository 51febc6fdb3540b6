"""What is said about sets of packages that do not work, in faked environments."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd_classroom import environment
from mmkd_classroom.environment import PACKAGES, EnvironmentProblem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
CHECK_ENV = ROOT / 'tools' / 'check_env.py'
SOUND = {
    'torch': '2.11.0',
    'torchvision': '0.26.0',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmpose': '1.3.2',
    'xtcocotools': '1.14.3',
    'mmpretrain': '1.2.0',
    'mmdet': '3.3.0',
}
FORKS = {
    'onedl_mmcv': '2.3.6',
    'onedl_mmengine': '0.10.12',
    'onedl_mmpretrain': '1.3.6',
    'onedl_mmdetection': '3.5.1',
}


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that makes the metadata say which packages are installed."""

    def pretend(compiled_ops=True, **changes):
        installed = {**SOUND, **{name.replace('_', '-'): v for name, v in changes.items()}}

        def version(name):
            if installed.get(name) is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(importlib.metadata, 'version', version)
        monkeypatch.setattr(environment, 'has_compiled_ops', lambda: compiled_ops)

    return pretend


def message_of_check():
    with pytest.raises(EnvironmentProblem) as caught:
        environment.check()
    return str(caught.value)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'torch': '2.1.0+cu121', 'torchvision': '0.16.0+cu121', 'mmcv': '2.0.0'},
        {'torch': '2.12.0.dev20260101', 'mmengine': '0.10rc1'},
        {'mmpose': None, 'xtcocotools': None},  # classification alone
        {'mmpretrain': None, 'mmdet': None},  # pose alone
        {'mmpretrain': '1.0.0'},  # too old, but poses can be distilled
        {'mmcv': '2.2.0', 'mmdet': None},  # only mmdet refuses it
        {'mmcv': '2.2.0', 'mmpose': None},  # ... and only MMPose imports mmdet
        # the forks, all or some
        {'mmcv': None, 'mmengine': None, 'mmpretrain': None, 'mmdet': None, **FORKS},
        {'mmcv': None, 'mmdet': None, 'onedl_mmcv': '2.3.6'},
        {'mmcv_lite': '2.1.0'},  # beside a full mmcv whose ops are there
    ],
)
def test_a_set_that_works_is_accepted(pretend, changes):
    pretend(**changes)
    environment.check()


@pytest.mark.parametrize(
    ('changes', 'said', 'remedy'),
    [
        ({'torch': None}, 'torch: not installed; >=2.1 is needed', 'install torch==2.11.0'),
        ({'torch': '2.0.1'}, 'torch: 2.0.1 is installed; >=2.1', 'install torch==2.11.0'),
        ({'mmengine': '0.9.1'}, 'mmengine: 0.9.1 is installed; >=0.10,<1', 'mmengine==0.10.7'),
        ({'mmengine': '1.0.0'}, 'mmengine: 1.0.0 is installed; >=0.10,<1', 'mmengine==0.10.7'),
        ({'mmcv': None}, 'mmcv: not installed; >=2.0.0,<2.4.0', '--no-build-isolation'),
        ({'mmcv': '1.7.2'}, 'mmcv: 1.7.2 is installed', 'mmcv==2.1.0'),
        ({'mmcv': '2.4.0'}, 'mmcv: 2.4.0 is installed', 'mmcv==2.1.0'),
        (
            {'mmcv': None, 'mmcv_lite': '2.1.0', 'compiled_ops': False},
            'mmcv: mmcv-lite 2.1.0 is installed; the full mmcv 2.x is needed',
            'uninstall -y mmcv-lite mmcv && ',
        ),
        (
            {'mmcv': None, 'mmcv_full': '1.7.2'},
            'mmcv: mmcv-full 1.7.2 is installed',
            'uninstall -y mmcv-full mmcv && ',
        ),
        (
            {'compiled_ops': False},
            'mmcv: 2.1.0 is installed without mmcv._ext',
            'MMCV_WITH_OPS=1',
        ),
        (
            {'mmpose': None, 'mmpretrain': None},
            'Either pose or classification is enough',
            'install --no-deps mmpose==1.3.2',
        ),
        (
            {'mmpose': '0.29.0', 'mmpretrain': None},
            'mmpose: 0.29.0 is installed; >=1.3,<2',
            'install --no-deps mmpose==1.3.2',
        ),
        (
            {'xtcocotools': None, 'mmpretrain': None},
            'xtcocotools: not installed',
            '--no-binary xtcocotools',
        ),
        (
            {'mmcv': '2.2.0', 'mmpretrain': None},
            'mmdet 3.3.0 refuses mmcv 2.2.0',
            'uninstall -y mmdet',
        ),
        (
            {'mmcv': None, 'onedl_mmcv': '2.3.6', 'mmpretrain': None},
            'mmdet 3.3.0 refuses mmcv 2.3.6',
            'uninstall -y mmdet',
        ),
        ({'mmcv': None, 'onedl_mmcv': '2.4.0'}, 'mmcv: 2.4.0 is installed', 'mmcv==2.1.0'),
    ],
)
def test_a_set_that_cannot_work_is_refused_with_the_remedy(pretend, changes, said, remedy):
    pretend(**changes)
    message = message_of_check()
    assert said in message
    # A command one can paste, for the interpreter that runs.
    assert any(remedy in line for line in message.splitlines() if 'remedy: ' in line)
    assert f'{environment.PIP} ' in message


def test_each_problem_is_listed(pretend):
    pretend(torch=None, mmcv='1.6.0', mmpose=None)
    message = message_of_check()
    assert [f'- {name}: ' in message for name in ('torch', 'mmcv', 'mmpose')] == [True] * 3
    assert '- mmpretrain' not in message  # that one is in order


@pytest.mark.parametrize(
    'version, problem',
    [
        ('1.3.1', None),
        ('1.4.24', '1.4.24 is installed; >=1.3,<1.4.21 is needed.'),
        ('2.0.8', '2.0.8 is installed; >=1.3,<1.4.21 is needed.'),
        (None, 'not installed; >=1.3,<1.4.21 is needed.'),
    ],
)
def test_what_rtmpose_s_pipelines_need_is_known(pretend, version, problem):
    pretend(albumentations=version, tensorboard=None)
    environment.check()  # one can do without
    found = {p.package: p for p in environment.problems(('rtmpose', 'tensorboard'))}
    assert (found['albumentations'].what if version != '1.3.1' else None) == problem
    assert found['tensorboard'].remedy.endswith('pip install tensorboard==2.21.0')


def test_rtmpose_s_pipeline_follows_the_seed():
    """The reason for the range."""
    pytest.importorskip('albumentations')
    import numpy as np
    from mmengine.hub import get_config
    from mmengine.runner import set_random_seed
    from mmpose.datasets.transforms import Albumentation

    cfg = get_config('mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py')
    (step,) = [step for step in cfg.train_pipeline if step.type == 'Albumentation']
    image = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)

    def pictures(seed):
        set_random_seed(seed)
        transform = Albumentation(step.transforms)
        return [transform(dict(img=image.copy()))['img'].tobytes() for _ in range(8)]

    assert pictures(1) == pictures(1) != pictures(2)
    assert len(set(pictures(1))) > 3


def remedy_for_mmcv(monkeypatch):
    """Of a module that is imported now."""
    spec = importlib.util.spec_from_file_location('newer', environment.__file__)
    newer = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'newer', newer)
    spec.loader.exec_module(newer)
    return next(package.remedy for package in newer.PACKAGES if package.name == 'mmcv')


def test_python_3_13_is_not_told_to_build_what_does_not_build(monkeypatch):
    monkeypatch.setattr(sys, 'version_info', (3, 13, 0))
    remedy = remedy_for_mmcv(monkeypatch)
    assert 'does not build on Python 3.13' in remedy
    assert 'mmcv==2.1.0' not in remedy


@pytest.mark.parametrize('torch, patched', [('2.11.0', False), ('2.12.0', True), (None, False)])
def test_with_a_later_torch_mmcv_is_built_as_cpp_20(pretend, monkeypatch, torch, patched):
    pretend(torch=torch)
    assert ('-std=c++20' in remedy_for_mmcv(monkeypatch)) == patched


@pytest.mark.parametrize('name', ['_ext.cpython-311-x86_64-linux-gnu.so', '_ext.pyd', None])
def test_compiled_ops_are_found_without_importing_mmcv(tmp_path, monkeypatch, name):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('raise SystemError("imported")')
    if name:
        (tmp_path / 'mmcv' / name).touch()
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert environment.has_compiled_ops() is (name is not None)


@pytest.mark.parametrize(
    ('name', 'error', 'remedy'),
    [
        (
            'mmcv',
            'ImportError: /x/mmcv/_ext.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c104',
            'mmcv==2.1.0',
        ),
        ('mmpose', "ModuleNotFoundError: No module named 'mmcv._ext'", 'mmcv==2.1.0'),
        (
            'mmdet',
            'AssertionError: MMCV==2.2.0 is used but incompatible. Please install mmcv>=2.0.0rc4',
            'mmcv==2.1.0',
        ),
        (
            'xtcocotools',
            'File "/x/xtcocotools/mask.py", line 3\n'
            'ValueError: numpy.dtype size changed, may indicate binary incompatibility.',
            '--no-binary xtcocotools xtcocotools==1.14.3',
        ),
        (
            'mmpose',
            'File "/x/pycocotools/mask.py", line 3\n'
            'ValueError: numpy.dtype size changed, may indicate binary incompatibility.',
            'pycocotools',
        ),
        (
            'torchvision',
            'RuntimeError: operator torchvision::nms does not exist',
            'install torch==2.11.0 torchvision==0.26.0 --force-reinstall',
        ),
        (
            'mmengine',
            'ImportError: libGL.so.1: cannot open shared object file: No such file or directory',
            'install opencv-python-headless',
        ),
        ('mmpose', "ModuleNotFoundError: No module named 'json_tricks'", 'install json-tricks'),
        ('mmengine', "ModuleNotFoundError: No module named 'cv2'", 'opencv-python-headless'),
        ('mmpose', "ModuleNotFoundError: No module named 'mmengine'", 'mmengine==0.10.7'),
        ('mmpretrain', 'TypeError: something new', 'mmpretrain==1.2.0'),
    ],
)
def test_a_failed_import_is_told_with_its_remedy(name, error, remedy):
    package = next(package for package in PACKAGES if package.name == name)
    problem = environment.diagnose(package, f'Traceback (most recent call last):\n{error}\n')
    assert remedy in problem.remedy
    assert problem.what == error.splitlines()[-1]


def test_a_tool_explains_packages_that_do_not_fit_together():
    with pytest.raises(EnvironmentProblem) as caught, environment.explained():
        raise ImportError('/x/mmcv/_ext.so: undefined symbol: _ZN3c104')
    message = str(caught.value)
    assert '  - ImportError: /x/mmcv/_ext.so: undefined symbol: _ZN3c104\n' in message
    assert 'remedy: ' in message and 'mmcv==2.1.0' in message
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize('error', [ValueError('bad config'), ImportError('x'), KeyError('model')])
def test_any_other_error_goes_through_as_it_is(error):
    with pytest.raises(type(error)) as caught, environment.explained():
        raise error
    assert caught.value is error


def test_ranges_and_remedies_agree_with_the_project_s_files():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    declared = {'core': project['dependencies'], **extras}
    for use, requirements in declared.items():
        ours = [p.name + p.range for p in PACKAGES if p.needed_for == use]
        assert sorted(requirements) == sorted(ours), use
    pins = (ROOT / 'requirements.txt').read_text()
    for package in PACKAGES:
        for pin in re.findall(r'[\w-]+==[\w.]+', package.remedy):
            assert f'\n{pin}\n' in pins, f'the remedy for {package.name} names {pin}'
    for pin in re.findall(r'^[\w-]+==[\w.]+$', (ROOT / 'requirements.in').read_text(), re.M):
        assert f'\n{pin}\n' in pins, f'requirements.in has {pin}: compile it anew'


# --- in processes of their own ------------------------------------------------------------------


MODULES = {
    'torch': {'__init__.py': 'ones = lambda n: n'},
    'torchvision': {'__init__.py': ''},
    'mmengine': {'__init__.py': '', 'runner.py': ''},
    'mmcv': {'__init__.py': '', 'ops.py': '', '_ext.so': ''},
    'mmpose': {'__init__.py': '', 'utils.py': 'register_all_modules = dict'},
    'xtcocotools': {'__init__.py': '', 'coco.py': 'COCO = None'},
    'mmpretrain': {'__init__.py': '', 'utils.py': 'register_all_modules = dict'},
    'mmdet': {'__init__.py': '', 'utils.py': 'register_all_modules = dict'},
}


@pytest.fixture
def fake_stack(tmp_path):
    """Return a folder that holds stand-ins of all packages, for PYTHONPATH.

    With -S nothing else is seen to be installed.
    """
    for name, files in MODULES.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        info = tmp_path / f'{name}-{SOUND[name]}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: {SOUND[name]}\n'
        )
    return tmp_path


def run(*command, path=(), cwd='/'):
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True
    )


def test_check_env_accepts_a_complete_environment_from_any_folder(fake_stack, tmp_path):
    result = run('-S', CHECK_ENV, path=[fake_stack], cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r'^mmcv +2\.1\.0 +>=2\.0\.0,<2\.4\.0 +core +ok$', result.stdout, re.M)
    assert re.search(r'Ready for: classification, detection-ops, pose', result.stdout)


def test_check_env_names_every_remedy_where_nothing_is_installed():
    # -S: without site-packages. The package itself could not be imported here.
    result = run('-S', CHECK_ENV)
    assert result.returncode == 1, result.stdout
    assert not result.stderr
    for package in PACKAGES:
        assert re.search(rf'^{package.name} .* missing$', result.stdout, re.M)
        assert package.remedy in result.stdout
    assert 'Not ready for: pose, classification.' in result.stdout


@pytest.mark.parametrize(
    ('module', 'text', 'need', 'code', 'said'),
    [
        ('mmcv/ops.py', 'raise ImportError("_ext.so: undefined symbol: _ZN")', [], 1, 'undefined'),
        ('mmcv/ops.py', 'import os; os.abort()', [], 1, 'crashed with SIGABRT'),
        ('xtcocotools/coco.py', 'raise ValueError("odd")', [], 0, 'ValueError: odd'),
        ('xtcocotools/coco.py', 'raise ValueError("odd")', ['pose'], 1, 'Not ready for: pose.'),
        ('xtcocotools/coco.py', 'raise ValueError("odd")', ['classification'], 0, 'Ready for: '),
        ('mmdet/__init__.py', 'raise AssertionError("no")', ['pose'], 0, 'AssertionError: no'),
    ],
)
def test_check_env_reports_what_does_not_import(fake_stack, module, text, need, code, said):
    (fake_stack / module).write_text(text)
    arguments = ['--need', *need] if need else []
    result = run('-S', CHECK_ENV, *arguments, path=[fake_stack])
    assert result.returncode == code, result.stdout + result.stderr
    assert said in result.stdout
    assert 'WRONG' in result.stdout


def test_check_env_names_the_remedy_of_the_cause_alone(fake_stack):
    (fake_stack / 'mmcv' / 'ops.py').write_text('raise OSError("odd")')
    for name in ('mmpose', 'mmpretrain'):
        (fake_stack / name / 'utils.py').write_text('import mmcv.ops')
    output = run('-S', CHECK_ENV, path=[fake_stack]).stdout
    for name in ('mmcv (for core)', 'mmpose (for pose)', 'mmpretrain (for classification)'):
        assert f'{name}: OSError: odd' in output
    assert 'mmcv==2.1.0' in output and 'mmpose==1.3.2' not in output


def test_importing_the_package_on_an_unsupported_set_says_what_to_install(fake_stack):
    (fake_stack / 'mmcv' / '_ext.so').unlink()
    result = run('-c', 'import mmkd_classroom', path=[fake_stack, ROOT])
    assert result.returncode == 1
    assert 'EnvironmentProblem: mmkd_classroom cannot work with' in result.stderr
    assert '  - mmcv: 2.1.0 is installed without mmcv._ext' in result.stderr
    assert 'remedy: ' in result.stderr


def test_a_config_s_type_says_so_too(tmp_path):
    """MMEngine's registries swallow ImportErrors; this message must come through."""
    info = tmp_path / 'mmcv-1.7.2.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmcv\nVersion: 1.7.2\n')
    code = (
        'from mmengine.registry import MODELS; '
        'MODELS.build(dict(type="mmkd_classroom.MultiMentorDistiller"))'
    )
    result = run('-W', 'ignore', '-c', code, path=[tmp_path, ROOT])
    assert 'mmcv: 1.7.2 is installed; >=2.0.0,<2.4.0 is needed' in result.stderr


def test_importing_the_package_imports_nothing_heavy():
    """MMEngine's config, where the package's name is entered, is light."""
    heavy = {'torch', 'mmengine.runner', 'mmcv', 'mmpose', 'mmpretrain'}
    code = f'import sys, mmkd_classroom; print(sorted({heavy} & set(sys.modules)))'
    result = run('-c', code, path=[ROOT])
    assert result.stdout.strip() == '[]', result.stderr
