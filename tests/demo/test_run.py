"""The demo with a few pictures and one epoch, run twice."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

# Twelve trainings and tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TOOL = Path(__file__).parents[2] / 'demo' / 'run.py'
TITLES = [
    'mentor resnet18-w24',
    'mentor resnet18-w16',
    'mentor resnet18-w4, one epoch',
    'student alone',
    'taught by the average',
    'in the classroom',
]


def demo(root, *args):
    command = [sys.executable, str(TOOL), '--root', str(root), '--train', '16', '--val', '6']
    return subprocess.run(
        [*command, '--epochs', '1', *args], cwd=root, capture_output=True, text=True
    )


def table(output):
    rows = [line.strip('| ').split('|') for line in output.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    root = tmp_path_factory.mktemp('demo')
    done = demo(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root, done.stdout


def test_table(first):
    root, output = first
    head, *rows = table(output)
    assert head == ['model', 'labels', 'parameters', 'PCK', 'AR at OKS 0.5', 'minutes']
    assert [row[0] for row in rows] == TITLES
    assert [row[1] for row in rows] == ['all'] * 3 + ['2'] * 3
    parameters = [float(row[2].removesuffix(' M')) for row in rows]
    assert parameters[0] > parameters[1] > parameters[3] > parameters[2] > 0
    assert parameters[5] == parameters[4] == parameters[3]  # a taught student is a stock student
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row[3:5])
    assert (root / 'work_dirs' / 'demo' / 'table.md').read_text() in output


def test_the_gain_and_who_was_silenced_are_told(first):
    assert re.search(r'the student gained [+-]\d+\.\d PCK over the student alone, and', first[1])
    for name in ('resnet18-w24', 'resnet18-w16', 'resnet18-w4, one epoch'):
        assert re.search(rf"^{name} had \d+ % of the mentors' weight at first", first[1], re.M)


def test_each_training_is_reported(first):
    for title in TITLES:
        title += ', seed 0' * (not title.startswith('mentor'))
        assert re.search(
            rf'\] {title}: epoch 1 of 1, step 1 of 1, loss [\d.]+, done in \d+:\d\d\n', first[1]
        )


def test_picture(first):
    picture = cv2.imread(str(first[0] / 'work_dirs' / 'demo' / 'demo.png'))
    assert min(picture.shape[:2]) > 500
    assert picture.std() > 20


def test_second_time_nothing_is_done_again(first):
    root, output = first
    work = root / 'work_dirs' / 'demo'
    before = {path: path.stat().st_mtime_ns for path in work.rglob('*.p[tk][hl]')}
    # Checkpoints of six trainings, three of them copied, and predictions of three students.
    assert len(before) == 12
    again = demo(root)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in work.rglob('*.p[tk][hl]')} == before
    assert table(again.stdout) == table(output)
    assert 'done in' not in again.stdout


def test_other_epochs_are_other_trainings(first):
    root, output = first
    longer = demo(root, '--epochs', '2')
    assert longer.returncode == 0, longer.stdout + longer.stderr
    assert longer.stdout.count('epoch 2 of 2') >= len(TITLES)


def test_data_alone(tmp_path):
    done = demo(tmp_path, '--data-only')
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / 'data' / 'demo' / 'images').iterdir())) == 22
    assert not (tmp_path / 'work_dirs').exists()


def test_other_data_set_in_the_way_is_an_error(first):
    root, _ = first
    other = demo(root, '--val', '7')
    assert other.returncode == 1
    assert str(root / 'data' / 'demo') in other.stderr and '--force' in other.stderr
    assert 'Traceback' not in other.stderr
