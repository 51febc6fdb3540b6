"""Each config loads, builds and trains a step; what its comments claim is what the zoo says."""

import functools
import math
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from dataset_files import write_all
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.runner import Runner
from mmengine.utils import get_installed_path
from mmpretrain.datasets import CIFAR100

from mmkd_classroom.mentors.entry import as_entry

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path
    for path in (ROOT / 'configs').rglob('*.py')
    if not {'_base_', 'benchmarks'} & set(path.parts)  # plans have tests of their own
)
CLASSROOMS = [path for path in CONFIGS if 'mentors=[' in path.read_text()]
# Classrooms with another strategy: thin files over one of those above.
RIVALS = [path for path in CONFIGS if path.parent.name in ('amtml_kd', 'baselines')]
ZOO = [path for path in CLASSROOMS if 'zoo = ' in path.read_text()]
# How our comments call a metric, and how the zoos' metafiles do.
METRICS = {'AP': 'AP', 'PCKh': 'Mean', 'Top-1': 'Top 1 Accuracy'}


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT / 'configs').with_suffix(''))


@pytest.fixture(scope='session')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = write_all(tmp_path_factory.mktemp('generated'))
    with pytest.MonkeyPatch.context() as patch:  # MMPretrain would download what has another sum
        patch.setattr(CIFAR100, 'train_list', [('train', None)])
        patch.setattr(CIFAR100, 'test_list', [('test', None)])
        yield root


def offline(path: Path, work_dir: Path) -> Config:
    """The config, with batches of 2, random weights and nothing written but logs."""
    cfg = Config.fromfile(path)
    if 'mentors' in cfg.model:
        entries = [as_entry(mentor, 'model.mentors') for mentor in cfg.model.mentors]
        cfg.model.mentors = [dict(entry, checkpoint=None) for entry in entries]
    strip_pretrained(cfg.model)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.pop('indices', None)
    if find_spec('albumentations') is None:  # RTMPose's pipelines want it, as they do in MMPose
        pipeline = cfg.train_dataloader.dataset.pipeline
        pipeline[:] = [step for step in pipeline if step['type'] != 'Albumentation']
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1)
    cfg.experiment_name = by_name(path).replace('/', '-') + work_dir.name
    cfg.work_dir = str(work_dir)
    return cfg


def strip_pretrained(cfg: Any) -> None:
    """Drop every ``init_cfg`` that would download weights."""
    if isinstance(cfg, dict):
        if isinstance(cfg.get('init_cfg'), dict) and cfg['init_cfg']['type'] == 'Pretrained':
            del cfg['init_cfg']
        for value in cfg.values():
            strip_pretrained(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            strip_pretrained(value)


class OneStep(Hook):
    """Ends the training after a step and keeps what it returned."""

    def before_train(self, runner: Runner) -> None:
        self.before = snapshot(runner.model)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self.outputs, self.inputs = outputs, data_batch['inputs']
        self.after = snapshot(runner.model)
        runner.train_loop.stop_training = True


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.timeout(900)  # five HRNets and ResNets in one process, on a machine that may be busy
@pytest.mark.parametrize('path', CONFIGS, ids=by_name)
def test_config_takes_a_training_step(
    path: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config's own data set, pipeline, model, optimizer and hooks, for one batch of 2."""
    monkeypatch.chdir(data_root)
    cfg = offline(path, tmp_path)
    cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    cfg.update(test_cfg=None, test_dataloader=None, test_evaluator=None)
    # A warm-up may be 5,000 iterations long, and an epoch has one here.
    cfg.train_cfg.max_epochs *= 100
    runner = Runner.from_cfg(cfg)
    step = OneStep()
    runner.register_hook(step)
    runner.train()

    losses = {name: value.item() for name, value in step.outputs.items()}
    assert all(math.isfinite(value) for value in losses.values()), losses
    assert losses['loss'] > 0
    assert ('loss_mentors' in losses) == (path in CLASSROOMS + RIVALS)
    assert len(step.inputs) == 2
    assert any(not torch.equal(step.before[name], step.after[name]) for name in step.before)


@pytest.mark.parametrize('path', ZOO, ids=by_name)
def test_zoo_lists_each_mentor_with_the_quoted_figure(path: Path) -> None:
    quoted = re.findall(r"'([^']+)',  # (AP|PCKh|Top-1) (\d+\.\d+)\n", path.read_text())
    mentors = Config.fromfile(path).model.mentors
    assert len(quoted) == len(mentors)
    for mentor, (name, metric, figure) in zip(mentors, quoted):
        assert mentor.endswith(name)
        assert float(figure) == zoo_figure(mentor, metric), f'{path.name}: {name}'


@pytest.mark.parametrize('path', ZOO, ids=by_name)
def test_zoo_gives_the_student_the_quoted_figure(path: Path) -> None:
    source = path.read_text()
    ((metric, figure),) = re.findall(r'alone (AP|PCKh|Top-1) (\d+\.\d+)', source)
    student = re.search(r"_base_ = \[\s*'(mm\w+::[^']+)'", source).group(1)
    assert float(figure) == zoo_figure(student, metric)


def zoo_figure(config: str, metric: str) -> float:
    """The metafile's figure for the weights that the hub resolves a config to."""
    package, name = config.split('::')
    url = get_config(config, pretrained=True).model_path
    assert url.startswith('https://')
    (model,) = [
        model
        for model in zoo_models(package)
        if model.get('Config') == f'configs/{name}' and model.get('Weights') == url
    ]
    results = model['Results']
    results = results[0] if isinstance(results, list) else results
    return results['Metrics'][METRICS[metric]]


@functools.cache
def zoo_models(package: str) -> list[dict]:
    """Every model in the metafiles of an installed package."""
    mim = Path(get_installed_path(package)) / '.mim'
    index = yaml.load((mim / 'model-index.yml').read_text(), yaml.SafeLoader)
    return [
        model
        for metafile in index['Import']
        for model in yaml.load((mim / metafile).read_text(), yaml.SafeLoader).get('Models', [])
    ]


@pytest.mark.parametrize('path', [p for p in CLASSROOMS if p not in ZOO], ids=by_name)
def test_mentors_trained_here_are_where_their_configs_leave_them(path: Path) -> None:
    for mentor in Config.fromfile(path).model.mentors:
        if isinstance(mentor, str):  # the weights of its zoo
            continue
        config = Config.fromfile(mentor.config)
        stem, epochs = Path(mentor.config).stem, config.train_cfg.max_epochs
        assert mentor.checkpoint == f'work_dirs/{stem}/epoch_{epochs}.pth'
        assert epochs % config.default_hooks.checkpoint.interval == 0


@pytest.mark.parametrize('path', CLASSROOMS, ids=by_name)
def test_classroom_changes_nothing_else_in_its_base(path: Path) -> None:
    cfg, base = plain(Config.fromfile(path)), plain(Config.fromfile(base_of(path)))
    assert cfg.pop('model')['student'] == base.pop('model')
    cfg.pop('zoo', None)
    assert cfg == base


@pytest.mark.parametrize('path', RIVALS, ids=by_name)
def test_rivals_change_nothing_but_the_strategy(path: Path) -> None:
    (base,) = re.findall(r"_base_ = \['\.\./classroomkd/(\w+\.py)'\]", path.read_text())
    assert path.stem.endswith(f'_{base[:-3]}')
    cfg, classroom = (
        plain(Config.fromfile(file)) for file in (path, ROOT / 'configs' / 'classroomkd' / base)
    )
    ours, theirs = cfg.pop('model'), classroom.pop('model')
    assert cfg == classroom
    assert ours.pop('strategy')['type'] != theirs.pop('strategy')['type']
    mentors = theirs.pop('mentors')
    assert ours.pop('mentors') == (mentors[:1] if path.stem.startswith('kd_') else mentors)
    assert ours == theirs


def plain(value: Any) -> Any:
    """Plain dicts and lists, without the mark that a base of another package leaves."""
    if isinstance(value, Config):
        value = value.to_dict()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def base_of(path: Path) -> str:
    """The file of a classroom's first base: its student's config."""
    base = re.search(r"_base_ = \[\s*'([^']+)'", path.read_text()).group(1)
    if '::' not in base:
        file = path.parent / base
        return base_of(file) if file.resolve() in CLASSROOMS else str(file)
    package, name = base.split('::')
    return str(Path(get_installed_path(package)) / '.mim' / 'configs' / name)


OURS = [path for path in CLASSROOMS if path.stem.endswith(('_cpu', '_demo'))]
OUR_METRICS = {
    'CrowdPoseDataset': {'PCK', 'crowdpose/AP'},
    'CocoDataset': {'PCK', 'coco/AP'},
    'CustomDataset': {'accuracy/top1'},
}


@pytest.mark.parametrize('path', OURS, ids=by_name)
def test_our_data_sets_are_evaluated(
    path: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data_root)
    cfg = offline(path, tmp_path)
    metrics = Runner.from_cfg(cfg).val()
    assert OUR_METRICS[cfg.dataset_type] <= set(metrics)


def test_work_dirs_do_not_collide() -> None:
    stems = [path.stem for path in CONFIGS]
    assert len(stems) == len(set(stems))


@pytest.mark.parametrize('path', CONFIGS, ids=by_name)
def test_header_has_the_command(path: Path) -> None:
    header = path.read_text().split('\n_base_')[0]
    assert all(line.startswith('#') for line in header.splitlines())
    assert re.search(rf'# Train: .*configs/{by_name(path)}\.py', header)
    assert '# Needs: ' in header


@pytest.mark.parametrize('path', CONFIGS, ids=by_name)
def test_each_config_is_in_its_folders_readme(path: Path) -> None:
    assert path.name in (path.parent / 'README.md').read_text()
