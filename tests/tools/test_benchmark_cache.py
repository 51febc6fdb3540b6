"""An epoch from the cache beside the student alone and beside mentors that run."""

import re

import pytest
import runs

from mmkd_classroom.mentors import Mentor


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_the_three_take_turns_and_ratios_are_printed(kind, run_tool, tmp_path, capsys, monkeypatch):
    ran, run = [], Mentor._run
    monkeypatch.setattr(Mentor, '_run', lambda self, x: ran.append(len(x)) or run(self, x))
    cfg = runs.config(kind, tmp_path)
    # Not fetched.
    cfg.model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint='http://x.invalid/a')
    path = tmp_path / 'classroom.py'
    cfg.dump(path)
    run_tool('benchmark_cache', path, '--samples', 8, '--rounds', 2, '--online-rounds', 1)
    out = capsys.readouterr().out
    # To fill the cache, with the shapes; in the one epoch with mentors; and for its table.
    assert sum(ran) == 2 * (1 + 8) + 2 * 8
    turns = re.findall(r'^round (\d) of 2: (.*) \d+\.\d\d s$', out, re.M)
    alone, cached, online = 'the student alone', 'from the cache', 'with mentors'
    assert turns == [
        ('1', alone), ('1', cached), ('1', online), ('2', cached), ('2', alone),
    ]  # fmt: skip
    found = re.search(
        r'^8 samples: from the cache (\S+) times the student alone \((\S+) to (\S+)\); with '
        r'mentors (\S+) times, by FLOPs of the steps (\S+); (\S+) bytes a record$',
        out,
        re.M,
    )
    ratio, low, high, _, promised, size = (float(word.replace(',', '')) for word in found.groups())
    assert low <= ratio <= high
    rates = re.search(rf'^samples/s: (\S+) {alone}, (\S+) {cached}, (\S+) {online}$', out, re.M)
    seconds = float(re.search(rf': {online} (\S+) s$', out, re.M)[1])
    # Printed to a hundredth of a second, of which a round may have only a few.
    assert 8 / float(rates[3]) == pytest.approx(seconds, abs=0.006)
    assert promised == pytest.approx(1 + 2 / 3, abs=0.01)  # two mentors that are like the student
    assert size == (8 + 3 * 2 + 1 if kind == 'classes' else 8 + 17 * (4 * 32 + 2 + 12) + 1)
