"""What a training wrote into its work directories, joined over resumed parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..distiller import is_classroom
from ..errors import ClassroomError
from ..hooks.records import RecordFile
from ..json_files import is_number, read_values

_NOT_METRICS = {'step', 'time', 'data_time'}

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """A training, from its first step to its last.

    Attributes:
        work_dir: Its last work directory.
        config: Its config.
        records: The lines of ``mentoring.jsonl``; none if it was no classroom.
        steps: What the logger recorded of the steps: ``step``, ``loss``, ``time``, ...
        validations: Metrics by name, with ``step``; see :func:`unit_of_validation`.
    """

    work_dir: Path
    config: Config
    records: Lines
    steps: Lines
    validations: Lines

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that was saved last.

        Raises:
            ClassroomError: There is none.
        """
        pointer = self.work_dir / 'last_checkpoint'
        path = Path(pointer.read_text().strip()) if pointer.exists() else None
        if path is not None and not path.exists():
            path = self.work_dir / path.name  # the folder was moved
        if path is None or not path.exists():
            raise ClassroomError(
                f'{self.work_dir} has no last_checkpoint: train it to its first checkpoint, or '
                'leave out the samples (--samples 0).'
            )
        return path

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that validations have, in the order of the evaluator."""
        names = (name for line in self.validations for name in line)
        return [name for name in dict.fromkeys(names) if name not in _NOT_METRICS]

    def result(self, metric: str) -> float | None:
        """Value of a metric in the last validation that has it."""
        values = [line[metric] for line in self.validations if metric in line]
        return values[-1] if values else None

    def mean(self, name: str) -> float | None:
        """Mean of a value of the steps, such as ``time``; None if they do not have it."""
        values = [line[name] for line in self.steps if name in line]
        return sum(values) / len(values) if values else None


def read_run(work_dirs: Sequence[Path | str]) -> Run:
    """Read a training.

    Args:
        work_dirs: Its work directory, or several in which it was resumed, in this order.

    Raises:
        ClassroomError: A directory is missing, or nothing was logged there.
    """
    parts = [part for work_dir in map(Path, work_dirs) for part in _parts(work_dir)]
    logs = [_read_lines(part / 'scalars.json') for part in parts]
    steps = [[line for line in lines if 'loss' in line] for lines in logs]
    trained = [part for part, lines in zip(parts, steps) if lines]
    if not trained:
        raise ClassroomError(
            f'{work_dirs[-1]} has no log of a training (*/vis_data/scalars.json): give the '
            'work_dir of a training, whose visualizer has the backend LocalVisBackend.'
        )
    config = Config.fromfile(trained[-1] / 'config.py')
    unit = unit_of_validation(config)
    validations: Lines = []
    for lines, log in zip(steps, logs):
        if lines:  # what was validated later belongs to a part that was trained again
            start = lines[0].get(unit, math.inf)  # iterations may be logged without an epoch
            validations = [line for line in validations if line['step'] < start]
        validations += filter(_is_validation, log)
    return Run(
        work_dir=Path(work_dirs[-1]),
        config=config,
        records=joined([RecordFile(work_dir).read() for work_dir in work_dirs], 'iter'),
        steps=joined(steps),
        validations=validations,
    )


def read_classroom(work_dirs: Sequence[Path | str]) -> Run:
    """Read the training of a classroom.

    Raises:
        ClassroomError: See :func:`read_run`; or it was no classroom, or several.
    """
    run = read_run(work_dirs)
    if not is_classroom(run.config.get('model')) or not run.records:
        raise ClassroomError(
            f'{run.work_dir} is not the work_dir of a classroom: it has no mentoring.jsonl, or its '
            'config no mentors.'
        )
    members = {tuple(record['mentors']) for record in run.records}
    if len(members) > 1:
        raise ClassroomError(
            f'{", ".join(map(str, work_dirs))} are trainings with other mentors: '
            f'{" and ".join(map(str, sorted(members)))}. Write a report for each.'
        )
    return run


def unit_of_validation(config: Config) -> str:
    """What MMEngine's logger counts validations by: ``'epoch'`` or ``'iter'``."""
    logger = (config.get('default_hooks') or {}).get('logger') or {}
    return 'epoch' if logger.get('log_metric_by_epoch', True) else 'iter'


def joined(parts: Sequence[Lines], key: str = 'step') -> Lines:
    """Join lines of resumed parts: a part replaces what lies after its first line.

    Example:
        >>> joined([[dict(step=1), dict(step=2), dict(step=3)], [dict(step=2)]])
        [{'step': 1}, {'step': 2}]
    """
    whole: Lines = []
    for lines in filter(None, parts):
        whole = [line for line in whole if line[key] < lines[0][key]] + lines
    return whole


def _parts(work_dir: Path) -> list[Path]:
    if not work_dir.is_dir():
        raise ClassroomError(f'{work_dir}: there is no such directory.')
    # Named by the time of their start.
    return sorted(path.parent for path in work_dir.glob('*/vis_data/scalars.json'))


def _read_lines(path: Path) -> Lines:
    """What MMEngine's logger wrote: lines with a ``step``, and their numbers."""
    values = (value for _, _, value in read_values(path) if isinstance(value, dict))
    lines = [{key: v for key, v in value.items() if is_number(v)} for value in values]
    return [line for line in lines if 'step' in line]


def _is_validation(line: dict[str, Any]) -> bool:
    ours = any(name.startswith('mentor/') for name in line)
    return not ours and 'loss' not in line and bool(line.keys() - _NOT_METRICS)
