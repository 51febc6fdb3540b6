"""The sweep over the stock configs: what it finds, and that one config's end is not its own."""

import importlib
import json
import os
import time
from pathlib import Path

import pytest
import torch

SHUFFLENET = (
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_shufflenetv2_8xb64-210e_coco-256x192.py'
)
BOTTOM_UP = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
CIFAR = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / 'tools'))
    return importlib.import_module('sweep_zoo')


@pytest.fixture
def zoo(tool):
    return importlib.import_module('_zoo')


def outcomes(folder):
    lines = (folder / 'results.jsonl').read_text().splitlines()
    return {record['run_id']: record['outcomes'] for record in map(json.loads, lines)}


def test_stock_configs_in_their_roles(tool, tmp_path, capsys):
    only = '/td-hm_shufflenetv2_.*coco-256|dekr_hrnet-w32_8xb10-140e_coco|resnet18_.*cifar10'
    command = ['--only', only, '--work-dir', str(tmp_path), '--out', str(tmp_path / 'zoo.md')]
    tool.main(command)

    found = outcomes(tmp_path)
    assert found[SHUFFLENET] == dict(
        stock='ok', student='ok', mentor='ok', **{'mentor at 160 px': '–'}
    )
    assert found[CIFAR] == found[SHUFFLENET]
    assert found[BOTTOM_UP]['stock'] == '–'
    for role in ('student', 'mentor'):
        assert found[BOTTOM_UP][role].startswith(f'refused: model.{role}')
    table = (tmp_path / 'zoo.md').read_text()
    assert f'| {SHUFFLENET} | ok | ok | ok | – |' in table
    assert '| student | 2 | 1 |' in table

    capsys.readouterr()
    tool.main(command)  # an interrupted sweep does nothing twice
    assert '3 configs, 3 of them done before' in capsys.readouterr().out
    assert (tmp_path / 'zoo.md').read_text() == table


def test_one_end_of_a_config_is_not_that_of_the_sweep(tool, tmp_path, monkeypatch):
    def examine(name, roles, folder):
        yield 'stock', 'ok'
        if name == 'dies':
            os._exit(3)
        if name == 'hangs':
            time.sleep(60)
        yield from ((role, 'ok') for role in roles)

    monkeypatch.setattr(tool, 'examine', examine)
    args = ['--time-limit', '2', '--jobs', '2', '--work-dir', str(tmp_path)]
    records = tool.sweep(['dies', 'hangs', 'works'], tool.parse_args(args))

    found = {record['run_id']: list(record['outcomes'].values()) for record in records}
    assert found == dict(
        dies=['ok', 'CRASH: exit code 3', '–', '–'],
        hangs=['ok', 'CRASH: more than 2 s', '–', '–'],
        works=['ok'] * 4,
    )


def test_one_bit_of_a_loss_or_one_learning_rate_is_a_difference(zoo):
    loss = torch.tensor([0.3], dtype=torch.float64)
    rates = {'head.weight': (0.1, 0.0)}
    assert (
        zoo.difference({'loss': loss}, rates, {'loss_student': loss, 'loss': loss + 1}, rates)
        is None
    )

    other = {'loss_student': torch.nextafter(loss, loss + 1)}
    assert zoo.difference({'loss': loss}, rates, other, rates).startswith('DIFFERS: loss is')
    assert 'no loss among' in zoo.difference({'loss': loss}, rates, {}, rates)
    found = zoo.difference(
        {'loss': loss}, rates, {'loss_student': loss}, {'head.weight': (0.2, 0.0)}
    )
    assert found.startswith('DIFFERS: learning rate or weight decay of 1 of 1 parameters')


def test_every_stock_config_but_the_excluded_ones(tool):
    names = tool.stock_configs('mmpose')
    assert sum('/td-hm_' in name for name in names) > 200
    assert not [name for name in names if '3d' in name or '_base_' in name]
