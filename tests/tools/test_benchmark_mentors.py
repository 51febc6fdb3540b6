"""Each mentor is timed with each option."""

import re

import pytest
import runs
import torch


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_each_mentor_has_its_row(kind, run_tool, tmp_path, capsys, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, 'compile', lambda model: compiled.append(model) or model)
    runs.config(kind, tmp_path)
    run_tool('benchmark_mentors', tmp_path / 'classroom.py', '--rounds', 2, '--batch-size', 2)
    out = capsys.readouterr().out
    assert '| mentor | no option | channels_last | compile | bf16 | all three |' in out
    ratios = r'\d+\.\d\d'
    rows = re.findall(rf'^\| \w+ \| \d+\.\d ms(?: \| {ratios}){{4}} \|$', out, re.M)
    assert len(rows) == 2
    # Of the two variants with compile, one is in bfloat16.
    dtypes = [next(model.parameters()).dtype for model in compiled]
    assert dtypes == [torch.float32, torch.bfloat16] * 2
