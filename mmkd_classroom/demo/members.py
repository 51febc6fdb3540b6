"""The five models of the demo: how each is trained and tested, and whether that is done."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmkd_classroom.benchmark.jobs import Job
from mmkd_classroom.demo.coco import RECORD
from mmkd_classroom.demo.report import Row
from mmkd_classroom.distiller import student_config

PROJECT = Path(__file__).resolve().parents[2]
CLASSROOM = PROJECT / 'configs' / 'demo' / 'classroom_demo.py'
STUDENT = PROJECT / 'configs' / 'demo' / 'td-hm_resnet18-w8_demo-128x96.py'


@dataclass(frozen=True)
class Member:
    """A model, trained by ``tools/train.py`` and tested by ``tools/test.py``.

    Attributes:
        title: In the table.
        config: Its config file.
        folder: Where its results go.
        data: The data set's folder.
        epochs: Of training, in place of the config's.
        mentors: Members whose checkpoints teach it.
    """

    title: str
    config: Path
    folder: Path
    data: Path
    epochs: int | None = None
    mentors: Sequence['Member'] = ()

    @cached_property
    def cfg(self) -> Config:
        """The config as it is run."""
        cfg = Config.fromfile(self.config)
        cfg.merge_from_dict(self.options)
        return cfg

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the config file."""
        options = {
            f'model.mentors.{index}.checkpoint': str(mentor.checkpoint)
            for index, mentor in enumerate(self.mentors)
        }
        if self.epochs is not None:
            options['train_cfg.max_epochs'] = self.epochs
        return options

    @property
    def checkpoint(self) -> Path:
        """What its training leaves."""
        epochs = self.epochs or Config.fromfile(self.config).train_cfg.max_epochs
        return self.folder / f'epoch_{epochs}.pth'

    @property
    def predictions(self) -> Path:
        """What its test leaves, beside ``metrics.json``."""
        return self.folder / 'predictions.pkl'

    @property
    def mentoring(self) -> Path:
        """The record of its mentors' teaching."""
        return max(self.folder.glob('*/mentoring.jsonl'))

    @property
    def made_from(self) -> str:
        """A digest of all that its result depends on, but the code."""
        parts = [self.cfg.to_dict(), (self.data / RECORD).read_text()]
        parts += [mentor.made_from for mentor in self.mentors]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def is_done(self) -> bool:
        """Whether the folder holds the result of this very run."""
        try:
            return json.loads(self._result.read_text())['made_from'] == self.made_from
        except (OSError, ValueError, KeyError):
            return False

    def job(self, needs: Sequence[Job]) -> Job:
        """Train, test and keep the result; what a run left unfinished is removed first."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        tools, folder = PROJECT / 'tools', str(self.folder)
        options = [f'{key}={value}' for key, value in self.options.items()]
        train = [str(self.config), '--work-dir', folder, '--no-validate']
        train += ['--cfg-options', *options] if options else []
        test = [str(self.config), str(self.checkpoint), '--work-dir', f'{folder}/test']
        test += ['--out', f'{folder}/metrics.json', '--dump', str(self.predictions)]
        return Job(
            self.title,
            [
                (tools / 'train.py', train, self.folder / 'train.log'),
                (tools / 'test.py', test, self.folder / 'test.log'),
            ],
            self.cfg.train_cfg.max_epochs,
            needs=needs,
            after=self._keep,
        )

    def row(self) -> Row:
        """Its line of the table."""
        result = json.loads(self._result.read_text())
        metrics = result['metrics']
        return Row(
            self.title,
            result['parameters'],
            metrics['coco/AP'],
            metrics['PCK'],
            result['seconds'] / 60,
        )

    @property
    def _result(self) -> Path:
        return self.folder / 'result.json'

    def _keep(self, seconds: list[float]) -> None:
        with DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            model = MODELS.build(student_config(self.cfg).model)
        result = dict(
            made_from=self.made_from,
            seconds=seconds[0],
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            metrics=json.loads((self.folder / 'metrics.json').read_text()),
        )
        self._result.write_text(json.dumps(result, indent=2) + '\n')


def members(work: Path, data: Path, epochs: int | None = None) -> list[Member]:
    """The mentors, the student alone and the student in their classroom, in this order.

    Args:
        work: Folder that takes a folder of each.
        data: The data set's folder.
        epochs: Of every training, in place of the configs'.
    """
    mentors = [
        Member(f'mentor {cfg.name}', Path(cfg.config), work / cfg.name, data, epochs)
        for cfg in Config.fromfile(CLASSROOM).model.mentors
    ]
    alone = Member('student alone', STUDENT, work / 'student_alone', data, epochs)
    taught = Member(
        'student in the classroom', CLASSROOM, work / 'student_classroom', data, epochs, mentors
    )
    return [*mentors, alone, taught]
