"""What `make` does before it runs anything: whose environment it is, and what is done to it."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmkd_classroom.environment import PACKAGES

TOOLS = Path(__file__).resolve().parent.parent / 'tools'


@pytest.fixture
def setup_env(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(TOOLS)
    import setup_env

    monkeypatch.setattr(setup_env, 'STATE', tmp_path / 'state')
    monkeypatch.setattr(setup_env, 'HEARTBEAT_S', 0.1)
    return setup_env


def bare_environment(folder):
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
    return folder


@pytest.fixture
def ours(setup_env, tmp_path, monkeypatch):
    """Return what makes an environment of ours with a uv that runs this shell script."""
    root = tmp_path / 'root'
    for name in ('requirements.txt', 'pyproject.toml', 'mmkd_classroom/environment.py'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / 'tools').mkdir()
    (root / 'tools' / 'check_env.py').touch()
    monkeypatch.setattr(setup_env, 'ROOT', root)
    venv = bare_environment(tmp_path / 'venv')
    (venv / setup_env.MARKER).touch()
    (next(venv.glob('lib/python*/site-packages')) / 'pip.py').write_text(
        'print("global.index-url=\'https://mirror.invalid/simple\'")'
    )

    def ours(script):
        (venv / 'bin' / 'uv').write_text(f'#!/bin/sh\n{script}\n')
        (venv / 'bin' / 'uv').chmod(0o755)
        return venv

    return ours


def test_somebody_else_s_environment_is_checked_and_left_alone(setup_env, tmp_path, capfd):
    venv = bare_environment(tmp_path / 'theirs')

    def contents():
        return sorted((str(path), path.lstat().st_mtime_ns) for path in venv.rglob('*'))

    before = contents()
    for arguments in (['--venv', str(venv)], ['--python', str(venv / 'bin' / 'python')]):
        assert setup_env.main([*arguments, '--need', 'tests']) == 1
        out, err = capfd.readouterr()
        assert f'{venv}/bin/python -m pip install pytest-timeout' in out
        assert 'nothing in it was changed' in err
    assert contents() == before


def test_an_environment_of_ours_is_complete(setup_env):
    assert set(setup_env.EVERYTHING) == {p.needed_for for p in PACKAGES} - {'core'}


def test_an_environment_of_another_checkout_is_left_alone(setup_env, ours, tmp_path):
    venv = ours('exit 0')
    (venv / setup_env.MARKER).write_text(str(setup_env.ROOT))
    assert setup_env.is_own(venv)
    (venv / setup_env.MARKER).write_text(str(tmp_path))
    assert not setup_env.is_own(venv)
    (venv / setup_env.MARKER).write_text(str(tmp_path / 'was moved'))
    assert setup_env.is_own(venv)


def test_a_folder_that_is_no_environment_is_refused(setup_env, tmp_path, capsys):
    (tmp_path / 'thesis').mkdir()
    (tmp_path / 'thesis' / 'chapter.tex').touch()
    assert setup_env.main(['--venv', str(tmp_path / 'thesis')]) == 1
    assert 'neither a Python environment nor empty' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'thesis').iterdir()] == ['chapter.tex']


def test_the_second_call_does_nothing_until_something_changes(setup_env, ours):
    venv = ours('echo "$*" >> "$0.calls"')
    for _ in range(2):
        assert setup_env.main(['--venv', str(venv)]) == 0
    calls = venv / 'bin' / 'uv.calls'
    (call,) = calls.read_text().splitlines()
    assert call.endswith('--no-deps -r requirements.txt -e .')

    time.sleep(0.01)
    (next(venv.glob('lib/python*/site-packages')) / 'six-1.0.dist-info').mkdir()
    assert setup_env.main(['--venv', str(venv)]) == 0
    assert len(calls.read_text().splitlines()) == 2


def test_of_two_calls_one_waits_and_says_so(setup_env, tmp_path, capsys):
    def call(_):
        with setup_env.locked(tmp_path / 'lock'):
            time.sleep(0.5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))
    assert 'waiting for it' in capsys.readouterr().out


def test_a_long_step_shows_that_it_lives(setup_env, ours, capfd):
    script = (
        'echo "DEBUG [3/77] c++ x.cpp"; echo "DEBUG noise"; sleep 1; echo "Installed 1 package"'
    )
    assert setup_env.main(['--venv', str(ours(script))]) == 0
    assert 's: files compiled: [3/77]\n' in capfd.readouterr().out


def test_a_step_that_fails_shows_its_first_error_and_its_end(setup_env, ours, capfd):
    script = 'echo "a.cpp:3: error: no Python.h"; seq 99; echo DEBUG noise; echo no wheel; exit 2'
    assert setup_env.main(['--venv', str(ours(script))]) == 1
    lines = capfd.readouterr().err.split('\n')
    assert lines[1:4] == ['a.cpp:3: error: no Python.h', '[...]', '86']
    assert lines[-4] == 'no wheel' and 'the packages of requirements.txt: failed.' in lines[-2]


def test_pip_s_mirror_is_uv_s_unless_it_has_one(setup_env, ours, monkeypatch, capfd):
    venv = ours('echo "index: $UV_DEFAULT_INDEX"; exit 1')
    setup_env.main(['--venv', str(venv)])
    assert 'index: https://mirror.invalid/simple\n' in capfd.readouterr().err
    monkeypatch.setenv('UV_DEFAULT_INDEX', 'https://own.invalid')
    setup_env.main(['--venv', str(venv)])
    assert 'index: https://own.invalid\n' in capfd.readouterr().err


def test_an_interruption_ends_the_compilers_too(setup_env, ours, monkeypatch):
    venv = ours('sleep 60 & echo $! > "$0.pid"; wait')
    pid_file = venv / 'bin' / 'uv.pid'

    def interrupt(_):
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, 'last_step', interrupt)
    assert setup_env.main(['--venv', str(venv)]) == 130
    compiler = Path('/proc') / pid_file.read_text().strip()
    deadline = time.monotonic() + 10
    while compiler.exists() and time.monotonic() < deadline:
        if ') Z ' in (compiler / 'stat').read_text():
            return  # ended, and waiting for whoever inherited it
        time.sleep(0.05)
    assert not compiler.exists()


@pytest.mark.parametrize(
    ('facts', 'compiler', 'packages'),
    [
        ('python3.11 False True', sys.executable, 'python3.11-venv'),
        ('python3.12 True False', sys.executable, 'python3.12-dev'),
        ('python3.11 False False', 'no-such', 'python3.11-venv python3.11-dev g++'),
    ],
)
def test_what_pip_cannot_install_is_said_in_one_command(
    setup_env, monkeypatch, facts, compiler, packages
):
    monkeypatch.setattr(setup_env, 'ask', lambda *_: facts)
    monkeypatch.setenv('CXX', compiler)
    with pytest.raises(setup_env.SetupError, match=f'install -y {re.escape(packages)}\n'):
        setup_env.check_system('python3')


def test_an_unsupported_python_is_refused(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env, 'ask', lambda *_: '3 13')
    with pytest.raises(setup_env.SetupError, match=r'none is a Python 3\.10 to 3\.12'):
        setup_env.find_base_python(None)
    monkeypatch.setattr(setup_env, 'ask', lambda *_: '3 12')
    assert setup_env.find_base_python(None) == sys.executable
