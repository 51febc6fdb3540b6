"""The whole report of a real training, in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.runner import Runner
from runs import config

from mmkd_classroom.errors import ClassroomError

pytest.importorskip('plotly', reason='the report needs plotly')

from mmkd_classroom.report.page import write_report  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None)
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--enable-logging=stderr', '--virtual-time-budget=20000', '--dump-dom',
)  # fmt: skip


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Open a page; the document after its scripts, and the errors of these."""
    command = [CHROMIUM, *FLAGS, f'--user-data-dir={profile}', page.resolve().as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    return result.stdout, re.findall(r'CONSOLE.*?"(.*)", source', result.stderr)


@METRICS.register_module()
class MeanTrueProbability(BaseMetric):
    """Accuracy on eight pictures is too coarse to tell two trainings apart."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            self.results.append(sample['pred_score'][sample['gt_label']].item())

    def compute_metrics(self, results):
        return dict(probability=sum(results) / len(results))


def train(kind, folder, epochs=2, **options):
    cfg = config(kind, folder, epochs=epochs)
    cfg.custom_hooks[-1].update(options)
    Runner.from_cfg(cfg).train()
    return Path(cfg.work_dir)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_the_page_of_a_training(kind, tmp_path, fresh_runners):
    work = train(kind, tmp_path)
    fresh_runners()
    page = write_report([work], tmp_path / 'report.html', samples=6)
    text = page.read_text()
    assert page.stat().st_size < 10 * 2**20
    # Readable without a network: nothing is loaded but what is in the file.
    assert not re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(?!data:)', text)
    for words in ('mentor_0', 'mentor_1', 'Who teaches what', 'nobody', 'The samples', 'mentors'):
        assert words in text
    if CHROMIUM is None:
        pytest.skip('no Chromium to open the page in')
    document, errors = browse(page, tmp_path / 'profile')
    assert errors == []
    charts = text.count('class="plotly-graph-div"')
    assert charts >= 9
    assert document.count('class="plotly-graph-div js-plotly-plot"') == charts
    assert document.count('<svg class="main-svg"') >= charts


@pytest.mark.slow
def test_without_validation_the_test_data_scores_the_members_and_the_student_alone(
    tmp_path, fresh_runners
):
    off = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    taught, alone = config('classes', tmp_path, epochs=1), Config.fromfile(tmp_path / 'student.py')
    alone.merge_from_dict({**off, 'work_dir': str(tmp_path / 'alone'), 'randomness.seed': 3})
    expected = []
    for cfg in (taught, alone):
        fresh_runners()
        cfg.update(off)
        cfg.test_evaluator = dict(type='MeanTrueProbability')
        runner = Runner.from_cfg(cfg)
        runner.train()
        expected.append(runner.test()['probability'])
    assert expected[0] != expected[1]
    fresh_runners()
    page = write_report([tmp_path / 'work'], tmp_path / 'report.html', tmp_path / 'alone', 8)
    text = page.read_text()
    assert '8 test samples' in text and 'This training did not validate' in text
    rows = re.findall(r'<tr>(.*?)</tr>', text, re.DOTALL)
    for name, value in zip(('student', 'student alone'), expected):
        (row,) = [row for row in rows if f'</span>{name}</td>' in row]
        assert f'>{value:.4g}</td>' in row


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium')
def test_a_script_error_would_be_seen(tmp_path):
    page = tmp_path / 'page.html'
    page.write_text('<script>nothing.there()</script>')
    _, errors = browse(page, tmp_path / 'profile')
    assert errors and 'ReferenceError' in errors[0]


def test_without_samples_no_model_is_built(tmp_path, fresh_runners):
    work = train('classes', tmp_path, epochs=1)
    (work / 'last_checkpoint').unlink()
    text = write_report([work], tmp_path / 'report.html', samples=0).read_text()
    assert 'mentor_1' in text and 'The samples' not in text
    with pytest.raises(ClassroomError, match='no last_checkpoint'):
        write_report([work], tmp_path / 'report.html', samples=4)
    with pytest.raises(ClassroomError, match='--alone'):
        write_report([work], tmp_path / 'report.html', alone=work, samples=0)


@pytest.mark.slow
def test_the_hook_writes_it_when_training_ends(tmp_path, fresh_runners):
    work = train('classes', tmp_path, epochs=1, report=True)
    assert 'who taught what' in (work / 'report.html').read_text()
