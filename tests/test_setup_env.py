"""What `make` does before it runs anything: whose environment it is, and what is done to it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkd_classroom.environment import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / 'tools'


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """Return the two modules, with their stamps in a folder of the test's own."""
    monkeypatch.syspath_prepend(TOOLS)
    import _installer
    import setup_env

    monkeypatch.setattr(setup_env, 'STATE', tmp_path / 'state')
    (tmp_path / 'state').mkdir()
    monkeypatch.setattr(_installer, 'HEARTBEAT_S', 0.1)
    return setup_env, _installer


def bare_environment(folder):
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
    return folder


def contents(folder):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob('*'))


def test_somebody_else_s_environment_is_checked_and_left_alone(tools, tmp_path, capfd):
    setup_env, _ = tools
    venv = bare_environment(tmp_path / 'theirs')
    before = contents(venv)
    for arguments in (['--venv', str(venv)], ['--python', str(venv / 'bin' / 'python')]):
        assert setup_env.main([*arguments, '--need', 'tests']) == 1
        out, err = capfd.readouterr()
        assert f'{venv}/bin/python -m pip install -r requirements/test.txt' in out
        assert 'nothing in it was changed' in err
    assert contents(venv) == before


def test_an_environment_of_ours_is_complete(tools):
    setup_env, _ = tools
    assert set(setup_env.EVERYTHING) == {p.needed_for for p in PACKAGES} - {'core'}


def test_a_folder_that_is_no_environment_is_refused(tools, tmp_path, capsys):
    setup_env, _ = tools
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter.tex').touch()
    assert setup_env.main(['--venv', str(tmp_path / 'thesis')]) == 1
    assert 'neither a Python environment nor empty' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'thesis').iterdir()] == ['chapter.tex']


def test_the_second_call_does_nothing_until_something_changes(tools, tmp_path, monkeypatch):
    setup_env, _ = tools
    venv = bare_environment(tmp_path / 'venv')
    (venv / setup_env.MARKER).touch()
    filled = []
    monkeypatch.setattr(setup_env, 'fill', lambda venv, *_: filled.append(venv))
    monkeypatch.setattr(setup_env, 'check_system', lambda *_: None)
    complete = subprocess.CompletedProcess([], 0)
    real = subprocess.run
    monkeypatch.setattr(
        setup_env.subprocess,
        'run',
        lambda command, **options: (
            complete if 'check_env.py' in str(command) else real(command, **options)
        ),
    )
    for _ in range(2):
        assert setup_env.main(['--venv', str(venv)]) == 0
    assert filled == [venv]

    packages = next(venv.glob('lib/python*/site-packages'))
    (packages / 'six-1.0.dist-info').mkdir()
    (packages / 'six-1.0.dist-info' / 'METADATA').write_text('Name: six\nVersion: 1.0\n')
    assert setup_env.main(['--venv', str(venv)]) == 0
    assert filled == [venv, venv]


@pytest.mark.parametrize(
    ('facts', 'packages'),
    [
        ('{"version": [3, 11], "venv": false, "header": true}', 'python3.11-venv'),
        ('{"version": [3, 12], "venv": true, "header": false}', 'python3.12-dev'),
        (
            '{"version": [3, 11], "venv": false, "header": false}',
            'python3.11-venv python3.11-dev g++',
        ),
    ],
)
def test_what_pip_cannot_install_is_said_in_one_command(
    tools, tmp_path, monkeypatch, facts, packages
):
    setup_env, _ = tools
    monkeypatch.setattr(setup_env, 'ask', lambda *_: facts)
    if 'g++' in packages:
        monkeypatch.setenv('CXX', 'no-such-compiler')
    else:
        monkeypatch.setenv('CXX', sys.executable)
    with pytest.raises(setup_env.SetupError) as caught:
        setup_env.check_system('python3', tmp_path / 'venv')
    assert f'apt-get install -y {packages}\n' in str(caught.value)


def test_too_little_disk_is_said_before_the_download(tools, tmp_path, monkeypatch):
    setup_env, _ = tools
    usage = type('Usage', (), {'free': 2e9})
    monkeypatch.setattr(setup_env.shutil, 'disk_usage', lambda _: usage)
    monkeypatch.setattr(
        setup_env, 'ask', lambda *_: '{"version": [3, 11], "venv": true, "header": true}'
    )
    monkeypatch.setenv('CXX', sys.executable)
    with pytest.raises(setup_env.SetupError, match=r'2\.0 GB free; the environment needs'):
        setup_env.check_system('python3', tmp_path / 'venv')


def test_an_unsupported_python_is_refused(tools, monkeypatch):
    setup_env, _ = tools
    monkeypatch.setattr(setup_env, 'ask', lambda *_: '3 13')
    with pytest.raises(setup_env.SetupError, match=r'none is a Python 3\.10 to 3\.12'):
        setup_env.find_base_python(None)
    monkeypatch.setattr(setup_env, 'ask', lambda *_: '3 12')
    assert setup_env.find_base_python(None) == sys.executable


@pytest.fixture
def installer(tools, tmp_path):
    _, module = tools
    venv = tmp_path / 'venv'
    (venv / 'bin').mkdir(parents=True)
    (venv / module.MARKER).touch()
    return lambda: module.Installer(venv)


def test_a_long_step_shows_that_it_lives(installer, capsys):
    code = 'import time; print("object 3", flush=True); time.sleep(1)'
    installer().run('a long build', [sys.executable, '-c', code])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('] a long build')
    assert lines[-1] in ('           0 s: object 3', '           1 s: object 3')


def test_a_step_that_fails_shows_its_first_error_and_its_end(installer, tools):
    code = (
        'print("a.cpp:3: fatal error: Python.h: No such file"); '
        '[print("File", i) for i in range(99)]; raise SystemExit("no wheel")'
    )
    with pytest.raises(tools[1].SetupError) as caught:
        installer().run('a build', [sys.executable, '-u', '-c', code])
    lines = str(caught.value).splitlines()
    assert lines[:3] == ['a.cpp:3: fatal error: Python.h: No such file', '[...]', 'File 85']
    assert 'no wheel' in lines and any(line.startswith('a build: failed') for line in lines)


def test_an_interrupted_step_is_repaired_by_the_next_call(installer, monkeypatch):
    """Also when that one is interrupted in a step before it."""
    commands = []

    def call(*titles):
        ours = installer()
        monkeypatch.setattr(ours, 'run', lambda title, command: commands.append(command))
        for title in titles[:-1]:
            ours.pip(title, title)
        monkeypatch.setattr(ours, 'run', interrupted)
        with pytest.raises(KeyboardInterrupt):
            ours.pip(titles[-1], titles[-1])

    def interrupted(title, command):
        commands.append(command)
        raise KeyboardInterrupt

    call('tools', 'torch')
    call('tools')
    call('tools', 'torch', 'mmpose')
    repaired = [(command[-1], '--ignore-installed' in command) for command in commands]
    assert repaired == [
        ('tools', False),
        ('torch', False),
        ('tools', False),
        ('tools', True),
        ('torch', True),
        ('mmpose', False),
    ]


def test_an_interruption_ends_the_compilers_too(installer, tmp_path):
    pid_file = tmp_path / 'pid'
    code = (
        'import subprocess, sys; from pathlib import Path; '
        f'child = subprocess.Popen(["sleep", "60"]); Path({str(pid_file)!r}).write_text(str('
        'child.pid)); child.wait()'
    )

    def progress():
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt
        return ''

    with pytest.raises(KeyboardInterrupt):
        installer().run('a build', [sys.executable, '-c', code], progress=progress)
    compiler = Path('/proc') / pid_file.read_text()
    deadline = time.monotonic() + 10
    while compiler.exists() and time.monotonic() < deadline:
        if ') Z ' in (compiler / 'stat').read_text():
            break  # ended, and waiting for whoever inherited it
        time.sleep(0.05)
    else:
        assert not compiler.exists()


def test_progress_counts_compiled_files(tools, tmp_path):
    _, module = tools
    assert module.compiled(tmp_path) == 'configuring'
    build = tmp_path / 'build' / 'temp.linux-x86_64'
    (build / 'mmcv').mkdir(parents=True)
    (build / 'build.ninja').write_text(
        ''.join(f'build {build}/mmcv/{name}.o: compile {name}.cpp\n' for name in 'abc')
    )
    (build / 'mmcv' / 'a.o').touch()
    assert module.compiled(tmp_path) == '1 of 3 files compiled'
