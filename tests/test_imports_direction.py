"""Imports go one way: the contract in pyproject.toml, and that it would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def lint_imports(folder):
    code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    command = [sys.executable, '-c', code, '--no-cache', '--verbose']
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    shutil.copy(ROOT / 'pyproject.toml', tmp_path)
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / 'mmkd_classroom', tmp_path / 'mmkd_classroom', ignore=ignored)
    return tmp_path


def test_the_package_keeps_the_contract():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ('module', 'line', 'contract'),
    [
        ('functional/scores.py', 'from mmkd_classroom import tasks', 'functional <- '),
        ('tasks/base.py', 'from mmkd_classroom import strategies', 'functional <- '),
        ('strategies/classroom.py', 'from ..distiller import MultiMentorDistiller', 'functional <'),
        ('distiller.py', 'from . import hooks', 'functional <- '),
        ('functional/scores.py', 'import mmengine', 'The mathematics knows no OpenMMLab'),
    ],
)
def test_an_import_the_other_way_breaks_it(copy, module, line, contract):
    path = copy / 'mmkd_classroom' / module
    path.write_text(f'{path.read_text()}\n{line}\n')
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout
    broken = [line for line in result.stdout.splitlines() if line.endswith('BROKEN')]
    assert any(name.startswith(contract) for name in broken), result.stdout


def test_a_module_without_a_place_breaks_it(copy):
    (copy / 'mmkd_classroom' / 'helpers.py').touch()
    result = lint_imports(copy)
    assert result.returncode == 1
    assert 'helpers' in result.stdout
