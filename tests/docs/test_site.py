"""The documentation site builds without a warning, with all that it reads from the code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest.importorskip('furo')
pytest.importorskip('myst_parser')
pytest.importorskip('sphinx')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html']
    result = subprocess.run(
        [*command, ROOT / 'docs', folder], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-5000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ('page', 'text'),
    [
        ('reference/options', 'model.strategy.tau_max'),
        ('reference/options', 'model.mentors[i].class_map'),
        ('reference/options', 'MentoringHook.mentor_check.num_samples'),
        ('reference/troubleshooting', 'model.cache.views is ⟨count⟩: it must be at least 1.'),
        ('reference/commands', '--cfg-options'),
        ('reference/api', 'id="mmkd_classroom.strategies.ClassroomKD"'),
        ('choose_mentors', 'rtmpose-l_8xb256-420e_coco-256x192.py'),
    ],
)
def test_a_page_has_what_it_reads_from_the_code(site, page, text):
    assert text in (site / f'{page}.html').read_text()
