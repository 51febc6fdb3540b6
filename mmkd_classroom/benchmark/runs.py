"""One training of a benchmark with its test: what it is made from, and what it leaves."""

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
from mmengine.hub import get_config

from ..checkpoints import read_checkpoint
from .jobs import Job, ToolError
from .plan import Method, Plan, mentor_name, prepared

TOOLS = Path(__file__).resolve().parents[1] / '.mim' / 'tools'


@dataclass(frozen=True)
class Run:
    """A training by ``tools/train.py`` and a test by ``tools/test.py``, or the test alone.

    Attributes:
        title: Shown in lines of progress.
        name: Of the method or the mentor.
        seed: Of the training.
        cfg: Its config.
        made_from: Digest of all that the result depends on, but the code; None of a mentor
            that is not there yet.
        folder: Takes all that it leaves.
        given: Weights to test in place of a training.
        wanted: Where the weights are put when they are trained and tested.
        dump: Whether the test leaves its predictions.
    """

    title: str
    name: str
    seed: int
    cfg: Config
    made_from: str | None
    folder: Path
    given: Path | None = None
    wanted: Path | None = None
    dump: bool = False

    @property
    def is_training(self) -> bool:
        """Whether it trains, and does not only test what is given."""
        return self.given is None

    @property
    def is_mentor(self) -> bool:
        """Whether it is a mentor's."""
        return self.wanted is not None

    @property
    def checkpoint(self) -> Path:
        """The last of the training, or the one that is given."""
        epochs = self.cfg.train_cfg.get('max_epochs')
        name = f'epoch_{epochs}.pth' if epochs else f'iter_{self.cfg.train_cfg.max_iters}.pth'
        return self.given or self.folder / 'train' / name

    @property
    def predictions(self) -> Path:
        """Where the test leaves them."""
        return self.folder / 'predictions.pkl'

    def job(
        self,
        keep: Callable[[dict[str, Any]], None],
        failed: Callable[['Run', ToolError], None] | None = None,
    ) -> Job:
        """Its tools, in a folder that is made anew.

        Args:
            keep: Takes the result.
            failed: Takes this run and the error. By default an error stops all other jobs.
        """
        if self.folder.exists():  # an interruption left it; a finished run is not done again
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        config = str(self.folder / 'config.py')
        self.cfg.dump(config)
        work = str(self.folder / 'train')
        train = [config, '--work-dir', work, '--no-validate']
        test = [config, str(self.checkpoint), '--work-dir', str(self.folder / 'test')]
        test += ['--out', str(self.folder / 'metrics.json')]
        test += ['--dump', str(self.predictions)] if self.dump else []
        tools = [
            (TOOLS / 'train.py', train, self.folder / 'train.log'),
            (TOOLS / 'test.py', test, self.folder / 'test.log'),
        ]
        return Job(
            self.title,
            tools if self.given is None else tools[1:],
            self.cfg.train_cfg.get('max_epochs'),
            iters=self.cfg.train_cfg.get('max_iters'),
            after=lambda seconds: keep(self._finish()),
            failed=failed and (lambda error: failed(self, error)),
        )

    def _finish(self) -> dict[str, Any]:
        """The result; a mentor is put where its classroom seeks it."""
        made_from = self.made_from
        if made_from is None:
            made_from = digest(self.cfg, weights_digest(self.checkpoint))
            publish(self.checkpoint, self.wanted)
        result = dict(
            made_from=made_from,
            name=self.name,
            seed=self.seed,
            metrics=json.loads((self.folder / 'metrics.json').read_text()),
            folder=str(self.folder),
        )
        cost = self.folder / 'train' / 'cost.json'
        return {**result, **json.loads(cost.read_text())} if self.given is None else result


def student_run(plan: Plan, method: Method, seed: int) -> Run | None:
    """The run of a method with a seed, or None where a mentor is not there yet."""
    mentors = plan.mentors(method)
    if not all(is_there(mentor) for mentor in mentors):
        return None
    cfg = plan.config(method, seed)
    made_from = digest(cfg, [_describe(mentor) for mentor in mentors])
    folder = plan.folder / 'runs' / f'{slug(method.name)}-seed{seed}-{made_from[:10]}'
    return Run(f'{method.name}, seed {seed}', method.name, seed, cfg, made_from, folder)


def mentor_runs(plan: Plan) -> list[Run]:
    """The trainings, or tests, of all mentors that teach in some method and are files here."""
    entries = [mentor for method in plan.methods for mentor in plan.mentors(method)]
    files = {
        (mentor_name(entry), entry['checkpoint']): entry for entry in filter(is_local, entries)
    }
    return [_mentor_run(plan, name, entry) for (name, _), entry in files.items()]


def _mentor_run(plan: Plan, name: str, entry: Mapping[str, Any]) -> Run:
    cfg = prepared(_mentor_config(entry), plan.mentor_options, plan.mentor_seed)
    path = Path(entry['checkpoint']).absolute()
    made_from = digest(cfg, weights_digest(path)) if path.exists() else None
    folder = plan.folder / 'mentors' / f'{slug(name)}-{(made_from or digest(cfg, None))[:10]}'
    given = path if path.exists() else None
    seed = plan.mentor_seed
    return Run(f'mentor {name}', name, seed, cfg, made_from, folder, given, wanted=path)


def is_local(entry: Mapping[str, Any]) -> bool:
    """Whether a mentor's checkpoint is a file, not one of a zoo."""
    checkpoint = entry.get('checkpoint')
    return isinstance(checkpoint, str) and checkpoint != 'zoo' and '://' not in checkpoint


def is_there(entry: Mapping[str, Any]) -> bool:
    """Whether a mentor can teach."""
    return not is_local(entry) or Path(entry['checkpoint']).exists()


def digest(cfg: Config, weights: Any) -> str:
    """SHA-256 of a config and of what else its training or test reads.

    Args:
        cfg: Its mentors, whose entries hold paths, are left to ``weights``.
        weights: Anything that JSON can write.
    """
    content = cfg.to_dict()
    content['model'] = {k: v for k, v in content['model'].items() if k != 'mentors'}
    text = json.dumps([content, weights], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_digest(path: Path) -> str:
    """SHA-256 of a checkpoint's weights: the file also holds times, which differ from run to run.

    Raises:
        ClassroomError: The file cannot be read.
    """
    return _weights_digest(path, path.stat().st_mtime_ns)


@lru_cache
def _weights_digest(path: Path, modified: int) -> str:
    content = read_checkpoint(path)
    weights = content.get('state_dict', content)
    total = hashlib.sha256()
    for name, value in sorted(weights.items()):
        if isinstance(value, torch.Tensor):
            total.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
            total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def publish(source: Path, target: Path) -> None:
    """Put a file somewhere, whole or not at all: what is cut off would pass for a mentor.

    One that is there by now stays, for somebody may learn from it already.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f'{target.name}.{os.getpid()}.partial')
    with source.open('rb') as old, partial.open('wb') as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    partial.replace(target)


def slug(name: str) -> str:
    """A name for a folder.

    Example:
        >>> slug('ClassroomKD (batch), 3x')
        'classroomkd-batch-3x'
    """
    return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')


def _mentor_config(entry: Mapping[str, Any]) -> Config:
    config = entry['config']
    return copy.deepcopy(_read_config(config) if isinstance(config, str) else Config(dict(config)))


@lru_cache
def _read_config(config: str) -> Config:
    return get_config(config) if '::' in config else Config.fromfile(config)


def _describe(entry: Mapping[str, Any]) -> Sequence[Any]:
    """What a mentor's lessons depend on; it does not matter where its files lie."""
    weights = weights_digest(Path(entry['checkpoint'])) if is_local(entry) else entry['checkpoint']
    used = {key: value for key, value in entry.items() if key not in ('config', 'checkpoint')}
    return [mentor_name(entry), used, _mentor_config(entry).to_dict(), weights]
