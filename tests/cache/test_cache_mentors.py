"""The command that fills, checks, lists and removes caches."""

import re
import sys

import pytest
import runs
import torch
from mmengine.runner import Runner

from mmkd_classroom import cache_mentors
from mmkd_classroom.command import set_amp
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.mentors import Mentor

CACHE = "\nmodel['cache'] = dict(dir={folder!r}, views=2, {options})\n"


@pytest.fixture
def command(monkeypatch):
    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['cache_mentors', *map(str, args)])
        cache_mentors.main()

    return run


def written(kind, folder, options=''):
    """The path of a classroom's config with a cache."""
    runs.config(kind, folder, epochs=2)
    path = folder / 'classroom.py'
    path.write_text(path.read_text() + CACHE.format(folder=str(folder / 'cache'), options=options))
    return path


@pytest.mark.parametrize(
    'kind, flags', [('classes', ()), ('classes', ['--amp']), ('pose', ()), ('simcc', ())]
)
def test_what_is_filled_beforehand_is_not_run_in_training(
    kind, flags, tmp_path, command, fresh_runners, monkeypatch
):
    path = written(kind, tmp_path)
    command(path, '--work-dir', tmp_path / 'fill', *flags)
    assert not list(tmp_path.rglob('fill/**/*.pth'))
    ran, run = [], Mentor._run
    monkeypatch.setattr(Mentor, '_run', lambda self, x: ran.append(len(x)) or run(self, x))
    cfg = runs.Config.fromfile(path)
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'train'), f'{kind}_{tmp_path.name}'
    if flags:
        set_amp(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert not ran
    assert runner.model.cache.filled() == 1


@pytest.mark.parametrize('kind', ['classes', 'pose', 'simcc'])
@pytest.mark.parametrize('options', ["cells='all', precision='fp32'", ''])
def test_the_check_prints_the_differences(kind, options, tmp_path, command, fresh_runners, capsys):
    path = written(kind, tmp_path, options)
    command(path, '--work-dir', tmp_path / 'fill')
    capsys.readouterr()
    command(path, '--work-dir', tmp_path / 'check', '--check', 1)
    table = capsys.readouterr().out
    rows = re.findall(r'^(mentor_\d) +(\S+) +(\S+) +(\S+)$', table, re.M)
    assert [row[0] for row in rows] == ['mentor_0', 'mentor_1']
    (ranks, cosine) = map(
        float, re.search(r'rank changes (\S+), gradient cosine (\S+)', table).groups()
    )
    for _, value, divergence, active in rows:
        assert (float(value) == 0) == (float(divergence) == 0) == bool(options)
        assert kind == 'classes' or float(active) == 0  # joints are exact
    assert cosine > 0.999 and (kind == 'classes' or ranks == 0)
    assert not options or cosine == 1


@pytest.mark.parametrize('kind', ['classes', 'pose', 'simcc'])
def test_formats_are_compared_without_a_cache(kind, tmp_path, command, fresh_runners, capsys):
    path = written(kind, tmp_path)
    student = tmp_path / 'student.pth'
    torch.save(torch.load(tmp_path / 'classroom_mentor_1.pth'), student)
    command(path, '--work-dir', tmp_path / 'formats', '--formats', 2, '--student', student)
    table = capsys.readouterr().out
    rows = re.findall(r'^(all|\d+), (fp\d\d) +([\d,]+) +(\S+) +(.*)$', table, re.M)
    assert [row[1] for row in rows] == ['fp32', *['fp16'] * (len(rows) - 1)]
    sizes = [int(row[2].replace(',', '')) for row in rows]
    errors = [float(row[3]) for row in rows]
    sparse = next((i for i, row in enumerate(rows) if row[0] != 'all'), len(rows))
    assert sizes[0] > sizes[1] and sizes[sparse:] == sorted(sizes[sparse:], reverse=True)
    assert errors[0] == 0 and errors == sorted(errors)
    assert rows[0][4].split() == ['0.0e+00', '0.00%', '0.00%', '1.00000', '1.00000']
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_a_strategy_that_learns_from_the_student_s_features(kind, tmp_path, command, fresh_runners):
    """AMTML's angles and distances, without hints."""
    path = written(kind, tmp_path, '')
    path.write_text(path.read_text() + "model['strategy'] = dict(type='AMTML')\n")
    command(path, '--work-dir', tmp_path / 'fill')
    command(path, '--work-dir', tmp_path / 'check', '--check', 1)


def test_formats_of_a_strategy_that_reads_the_mentors_features(tmp_path, command, fresh_runners):
    path = written('classes', tmp_path, '')
    path.write_text(path.read_text() + "model['strategy'] = dict(type='CAMKD')\n")
    with pytest.raises(SystemExit, match='CAMKD reads features of the mentors.*--strategy'):
        command(path, '--work-dir', tmp_path / 'formats', '--formats', 1)


def test_a_training_keeps_its_config_and_records(tmp_path, command, fresh_runners, monkeypatch):
    """The config that a training dumped names the training's folder."""
    monkeypatch.chdir(tmp_path)
    cfg = runs.Config.fromfile(written('classes', tmp_path))
    work = tmp_path / 'work'
    work.mkdir()
    cfg.work_dir = str(work)
    cfg.dump(work / 'classroom.py')
    (work / 'mentoring.jsonl').write_text('{"iter": 2, "mentors": {"a": {"score": 0.5}}}\n')
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    command(work / 'classroom.py')
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before
    assert (tmp_path / 'work_dirs' / 'classroom_cache').is_dir()
    with pytest.raises(SystemExit, match='--work-dir .* is that of a training'):
        command(work / 'classroom.py', '--work-dir', work)


def test_a_training_by_iterations_is_refused(tmp_path, command):
    path = written('classes', tmp_path)
    text = '\ntrain_cfg = dict(_delete_=True, by_epoch=False, max_iters=4)\n'
    path.write_text(path.read_text() + text)
    with pytest.raises(SystemExit, match='needs training by epochs'):
        command(path, '--work-dir', tmp_path / 'fill')


@pytest.mark.parametrize(
    'text, message',
    [
        ('train_cfg = None', 'needs training by epochs'),
        ("model['cache'] = True", 'model.cache is True: write dict'),
    ],
)
def test_a_config_that_has_no_training_or_no_cache(text, message, tmp_path, command):
    path = written('classes', tmp_path)
    path.write_text(f'{path.read_text()}\n{text}\n')
    with pytest.raises(SystemExit, match=message):
        command(path, '--work-dir', tmp_path / 'fill')


def test_samples_that_a_training_drops_are_filled_too(tmp_path, command, fresh_runners, capsys):
    """Another epoch drops others."""
    path = written('classes', tmp_path)
    path.write_text(f'{path.read_text()}\ntrain_dataloader = dict(batch_size=3, drop_last=True)\n')
    command(path, '--work-dir', tmp_path / 'fill')
    rows = re.findall(r' +8 +2 +100% ', cache_mentors.list_caches(tmp_path / 'cache'))
    assert len(rows) == 2


def test_a_check_of_an_empty_cache_says_so(tmp_path, command, fresh_runners):
    path = written('classes', tmp_path)
    with pytest.raises(SystemExit, match='no batch whose records are all there'):
        command(path, '--work-dir', tmp_path / 'check', '--check')


def test_caches_are_listed_and_removed(tmp_path, command, fresh_runners, capsys):
    path = written('classes', tmp_path)
    command(path, '--work-dir', tmp_path / 'fill')
    capsys.readouterr()
    next(tmp_path.glob('cache/*/view_0')).with_suffix('.ab12').touch()  # its maker was killed
    command('--list', tmp_path / 'cache')
    rows = re.findall(r'^(mentor_\S+) +8 +2 +100% +\S+ MiB$', capsys.readouterr().out, re.M)
    assert len(rows) == 2
    with pytest.raises(SystemExit, match='--prune other: .* has mentor_'):
        command('--prune', rows[0], 'other', '--cache', tmp_path / 'cache')
    command('--prune', rows[0], '--cache', tmp_path / 'cache')
    assert [p.name for p in (tmp_path / 'cache').iterdir()] == [rows[1]]
    with pytest.raises(ClassroomError, match='no such folder'):
        cache_mentors.list_caches(tmp_path / 'nowhere')


def test_a_stock_config_needs_mentors(tmp_path, command):
    written('classes', tmp_path)
    with pytest.raises(SystemExit, match='--cache needs mentors'):
        command(tmp_path / 'student.py')
