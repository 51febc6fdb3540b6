"""The five models of the demo: how each is trained and tested, and whether that is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmkd_classroom.benchmark.plan import prepared
from mmkd_classroom.benchmark.runs import Run, digest
from mmkd_classroom.demo.coco import RECORD
from mmkd_classroom.demo.report import Row
from mmkd_classroom.distiller import student_config

PROJECT = Path(__file__).resolve().parents[2]
CLASSROOM = PROJECT / 'configs' / 'demo' / 'classroom_demo.py'
STUDENT = PROJECT / 'configs' / 'demo' / 'td-hm_resnet18-w8_demo-128x96.py'


@dataclass(frozen=True)
class Member:
    """A model and its run.

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
    def run(self) -> Run:
        """Its training and test."""
        cfg = Config.fromfile(self.config)
        options = {
            f'model.mentors.{index}.checkpoint': str(mentor.run.checkpoint)
            for index, mentor in enumerate(self.mentors)
        }
        if self.epochs is not None:
            options['train_cfg.max_epochs'] = self.epochs
        seed = cfg.randomness.seed
        cfg = prepared(cfg, options, seed)
        teachers = [mentor.run.made_from for mentor in self.mentors]
        made_from = digest(cfg, [(self.data / RECORD).read_text(), teachers])
        return Run(self.title, self.title, seed, cfg, made_from, self.folder, dump=True)

    @property
    def mentoring(self) -> Path:
        """The record of its mentors' teaching."""
        return self.folder / 'train' / 'mentoring.jsonl'

    def row(self, result: dict[str, Any]) -> Row:
        """Its line of the table, from that of the ledger."""
        cfg = student_config(self.run.cfg)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        return Row(
            self.title,
            sum(parameter.numel() for parameter in model.parameters()),
            result['metrics']['coco/AP'],
            result['metrics']['PCK'],
            result['seconds'] / 60,
        )


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
