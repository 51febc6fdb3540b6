"""Imports go one way: the contract in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_package_keeps_the_contract():
    code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    command = [sys.executable, '-c', code, '--no-cache', '--verbose']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
