"""A run of a benchmark, which is a training with its test: its identity and its result."""

import copy
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..checkpoints import read_checkpoint
from ..errors import ClassroomError, reason
from ..hub import get_config
from ..mentors.entry import mentor_name
from .jobs import Job, ToolError
from .plan import Method, Plan, prepare_config

_LONGEST = 100  # letters of a name in the name of a folder
TOOLS = Path(__file__).resolve().parents[1] / '.mim' / 'tools'


@dataclass(frozen=True)
class Run:
    """A training by ``tools/train.py`` and a test by ``tools/test.py``, or only the test.

    Attributes:
        name: Name of the method or the mentor.
        seed: Seed of the training.
        cfg: The config.
        run_id: Digest of everything that the result depends on, except the code; None for a mentor
            that is not trained yet.
        folder: Folder for all files.
        weights: Existing weights to test. There is no training then.
        publish_to: Where the weights of a mentor are copied after training and test; None for a
            student.
        dump: Whether the test saves its predictions.
    """

    name: str
    seed: int | None
    cfg: Config
    run_id: str | None
    folder: Path
    weights: Path | None = None
    publish_to: Path | None = None
    dump: bool = False

    @property
    def title(self) -> str:
        """Shown in lines of progress."""
        return f'mentor {self.name}' if self.is_mentor else f'{self.name}, seed {self.seed}'

    @property
    def is_training(self) -> bool:
        """Whether it trains, and not only tests existing weights."""
        return self.weights is None

    @property
    def is_mentor(self) -> bool:
        """Whether it trains or tests a mentor."""
        return self.publish_to is not None

    @property
    def checkpoint(self) -> Path:
        """The weights that are tested: the existing ones, or the last of the training."""
        epochs = self.cfg.train_cfg.get('max_epochs')
        name = f'epoch_{epochs}.pth' if epochs else f'iter_{self.cfg.train_cfg.max_iters}.pth'
        return self.weights or self.folder / 'train' / name

    @property
    def predictions(self) -> Path:
        """Predictions of the test, if ``dump`` is set."""
        return self.folder / 'predictions.pkl'

    def job(
        self, done: Callable[[dict[str, Any]], None], failed: Callable[[ToolError], None]
    ) -> Job:
        """The tools to run, in a new folder.

        Args:
            done: Called with the result.
            failed: Called with the error when a tool has failed.
        """
        if self.folder.exists():  # left by an interruption
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        config = str(self.folder / 'config.py')
        self.cfg.dump(config)
        train = [config, '--work-dir', str(self.folder / 'train'), '--no-validate']
        test = [config, str(self.checkpoint), '--work-dir', str(self.folder / 'test')]
        test += ['--out', str(self.folder / 'metrics.json')]
        test += ['--dump', str(self.predictions)] if self.dump else []
        tools = [
            (TOOLS / 'train.py', train, self.folder / 'train.log'),
            (TOOLS / 'test.py', test, self.folder / 'test.log'),
        ]
        return Job(
            self.title,
            tools if self.is_training else tools[1:],
            done=lambda: done(self._finish()),
            failed=failed,
            epochs=self.cfg.train_cfg.get('max_epochs'),
            iters=self.cfg.train_cfg.get('max_iters'),
        )

    def _finish(self) -> dict[str, Any]:
        """Return the result. The weights of a trained mentor are copied to its checkpoint."""
        run_id = self.run_id
        if run_id is None:
            run_id = make_run_id(self.cfg, weights_digest(self.checkpoint))
            publish(self.checkpoint, self.publish_to)
        result = dict(
            run_id=run_id,
            name=self.name,
            seed=self.seed,
            metrics=json.loads((self.folder / 'metrics.json').read_text()),
            folder=str(self.folder),
        )
        if self.is_training:
            result |= json.loads((self.folder / 'train' / 'cost.json').read_text())
        return result


def student_run(plan: Plan, method: Method, seed: int) -> Run | None:
    """The run of a method with a seed, or None if a mentor is not available yet."""
    mentors = plan.mentors(method)
    if not all(is_available(mentor) for mentor in mentors):
        return None
    cfg = plan.config(method, seed)
    run_id = make_run_id(cfg, [_identity(mentor) for mentor in mentors])
    folder = plan.folder / 'runs' / f'{slug(method.name)}-seed{seed}-{run_id[:10]}'
    return Run(method.name, seed, cfg, run_id, folder, dump=plan.dump)


def mentor_runs(plan: Plan) -> list[Run]:
    """The trainings, or tests, of all mentors of the plan whose checkpoints are local files."""
    entries = [mentor for method in plan.methods for mentor in plan.mentors(method)]
    files = {
        (mentor_name(entry), entry['checkpoint']): entry for entry in filter(is_local, entries)
    }
    return [_mentor_run(plan, name, entry) for (name, _), entry in files.items()]


def _mentor_run(plan: Plan, name: str, entry: Mapping[str, Any]) -> Run:
    cfg = prepare_config(_mentor_config(entry), plan.mentor_options, plan.mentor_seed)
    path = Path(entry['checkpoint']).absolute()
    weights = path if path.exists() else None
    run_id = make_run_id(cfg, weights_digest(path)) if weights else None
    folder = plan.folder / 'mentors' / f'{slug(name)}-{(run_id or make_run_id(cfg, None))[:10]}'
    return Run(name, cfg.randomness.get('seed'), cfg, run_id, folder, weights, publish_to=path)


def is_local(entry: Mapping[str, Any]) -> bool:
    """Whether the checkpoint of a mentor is a local file, not a URL or a model zoo's."""
    checkpoint = entry.get('checkpoint')
    return isinstance(checkpoint, str) and checkpoint != 'zoo' and '://' not in checkpoint


def is_available(entry: Mapping[str, Any]) -> bool:
    """Whether a mentor can teach: its checkpoint exists or can be downloaded."""
    return not is_local(entry) or Path(entry['checkpoint']).exists()


def make_run_id(cfg: Config, weights: Any) -> str:
    """SHA-256 of a config, and of the weights and other files that its training or test reads.

    Args:
        cfg: The config. Its mentors and the folder of its cache are left out: they are paths.
        weights: What identifies the weights; anything that JSON can write.
    """
    content = cfg.to_dict()
    model = {k: v for k, v in content['model'].items() if k != 'mentors'}
    if model.get('cache') is not None:
        model['cache'] = {k: v for k, v in model['cache'].items() if k != 'dir'}
    content['model'] = model
    # The weights of mentors are in `weights`; those that a student starts with are not.
    digests = [*_digests(content, _WEIGHTS | _FILES), *_digests(weights, _FILES)]
    text = json.dumps([content, weights, *digests], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _digests(value: Any, files: Mapping[str, Callable[[Path], str]], key: str = '') -> list[str]:
    """Digests of the files that a config names under the given keys, in their order."""
    if isinstance(value, Mapping):
        items = [(value[name], name) for name in sorted(value, key=str)]
    elif isinstance(value, (list, tuple)):
        items = [(item, key) for item in value]
    elif key in files and isinstance(value, str) and Path(value).is_file():
        return [files[key](Path(value))]
    else:
        return []
    return [digest for item, name in items for digest in _digests(item, files, name)]


def weights_digest(path: Path) -> str:
    """SHA-256 of the weights in a checkpoint. The file's own digest differs from run to run.

    Raises:
        ClassroomError: The file cannot be read.
    """
    return _weights_digest(path, path.stat().st_mtime_ns)


@lru_cache
def _weights_digest(path: Path, modified: int) -> str:
    content = read_checkpoint(path)
    weights = content.get('state_dict', content)
    total = hashlib.sha256()
    try:
        for name, value in sorted(weights.items()):
            if isinstance(value, torch.Tensor):
                total.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
                total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    except Exception as error:  # no dict, names that cannot be sorted, sparse tensors
        raise ClassroomError(
            f'The weights in {path} are no dict of names and dense tensors ({reason(error)}). Save '
            '`model.state_dict()` instead.'
        ) from error
    return total.hexdigest()


def publish(source: Path, target: Path) -> None:
    """Copy a file so that ``target`` is never incomplete. An existing ``target`` is kept."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f'{target.name}.{os.getpid()}.partial')
    with source.open('rb') as old, partial.open('wb') as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    partial.replace(target)


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


#: Keys of configs that may name small files, and those that may name weights.
_FILES = dict.fromkeys(('class_map', 'keypoint_map', 'from_file'), _file_digest)
_WEIGHTS = dict.fromkeys(('load_from', 'checkpoint'), weights_digest)


def slug(name: str) -> str:
    """A name for a folder.

    Example:
        >>> slug('ClassroomKD (batch), 3x')
        'classroomkd-batch-3x'
    """
    return re.sub(r'[^a-z0-9]+', '-', name.lower())[:_LONGEST].strip('-') or 'unnamed'


def _mentor_config(entry: Mapping[str, Any]) -> Config:
    config = entry['config']
    return copy.deepcopy(_read_config(config) if isinstance(config, str) else Config(dict(config)))


@lru_cache
def _read_config(config: str) -> Config:
    return get_config(config) if '::' in config else Config.fromfile(config)


def _identity(entry: Mapping[str, Any]) -> Sequence[Any]:
    """Everything that the predictions of a mentor depend on, without the paths of its files."""
    weights = weights_digest(Path(entry['checkpoint'])) if is_local(entry) else entry['checkpoint']
    options = {key: value for key, value in entry.items() if key not in ('config', 'checkpoint')}
    return [mentor_name(entry), options, _mentor_config(entry).to_dict(), weights]
