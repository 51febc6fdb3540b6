"""In a classroom each parameter has the learning rate and weight decay of the stock config.

Over all configs of the installed packages that treat parameters by their names: those with
``paramwise_cfg`` or an optimizer constructor of their own, such as layer-wise decay.
"""

import ast
import functools
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import get_installed_path
from toys import on_meta

from mmkd_classroom import distiller, parts
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter


def folders(package):
    """The package's folders of configs, for one test each."""
    root = Path(get_installed_path(package)) / '.mim' / 'configs'
    files = sorted(path for path in root.rglob('*.py') if '_base_' not in path.parts)
    found = defaultdict(list)
    for path in files:
        found['/'.join(path.relative_to(root).parts[:-1][:2])].append(path)
    return [pytest.param(paths, id=f'{package}-{name}') for name, paths in found.items()]


@functools.cache
def mentions_it(path):
    """Whether a config or one of its bases has these words: to load all of them takes minutes."""
    text = path.read_text()
    if 'paramwise_cfg' in text or 'constructor' in text:
        return True
    found = re.search(r"^_base_ = (\[.*?\]|\(.*?\)|'.*?'|\".*?\")", text, re.MULTILINE | re.DOTALL)
    bases = ast.literal_eval(found[1]) if found else []
    bases = [bases] if isinstance(bases, str) else bases
    return any('::' in base or mentions_it((path.parent / base).resolve()) for base in bases)


def by_name(path):
    """The config if it treats parameters by name, else None."""
    if not mentions_it(path):
        return None
    try:
        cfg = Config.fromfile(path)
    except Exception:  # whatever a broken stock config raises
        return None
    wrapper = cfg.get('optim_wrapper') or {}
    return cfg if wrapper.get('paramwise_cfg') or wrapper.get('constructor') else None


def rates(model, optim_wrapper):
    wrapper = dict(optim_wrapper, type='OptimWrapper')
    for key in ('loss_scale', 'dtype', 'use_fp64'):  # of mixed precision, which needs a GPU
        wrapper.pop(key, None)
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group['lr'], group.get('weight_decay'))
        for group in optimizer.param_groups
        for parameter in group['params']
    }


@pytest.fixture
def no_mentors(monkeypatch):
    """Mentors matter nothing here, and building the zoo's takes minutes."""
    monkeypatch.setattr(parts, 'read_entries', lambda *_: [])


def compared(path, done):
    """Rates of a config's model in a classroom and alone, if there is something to compare."""
    cfg = by_name(path)
    if cfg is None:
        return None
    model = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    same = json.dumps([model, cfg.optim_wrapper], default=str)
    if same in done:  # schedules, data sets and batch sizes do not matter
        return None
    done.add(same)
    init_default_scope(cfg.default_scope)
    with on_meta():
        try:
            model = MODELS.build(model)
        except Exception:  # a stock config that cannot be built
            return None
        stock = rates(model, cfg.optim_wrapper)
        try:
            build_adapter(model).check_student(model, per_sample=False)
        except ClassroomError:  # no pose estimator or classifier that a classroom takes
            return None
        classroom = distiller.MultiMentorDistiller(student=model)
        return rates(classroom, cfg.optim_wrapper), stock


@pytest.mark.parametrize('paths', [*folders('mmpose'), *folders('mmpretrain')])
def test_rates_are_the_stock_config_s(paths, no_mentors):
    done = set()
    for path in paths:
        pair = compared(path, done)
        assert pair is None or pair[0] == pair[1], path


@pytest.mark.parametrize(
    'package, name',
    [
        ('mmpose', 'body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small_*'),
        ('mmpretrain', 'beit/benchmarks/beit-base-p16_8xb128*'),
        ('mmpretrain', 'mae/benchmarks/vit-base-p16_8xb128-coslr-100e_*'),
    ],
)
def test_layers_have_rates_of_their_own(package, name, no_mentors):
    """What the test above compares is no desert of equal numbers."""
    root = Path(get_installed_path(package)) / '.mim' / 'configs'
    ours, stock = compared(next(root.glob(name)), set())
    assert ours == stock and len({rate for rate, _ in stock.values()}) > 10
