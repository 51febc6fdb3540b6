"""Mentoring hook: schedules, the check of the mentors, and records of the statistics."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..errors import ClassroomError
from ..options import refuse_unknown
from ..registry import HOOKS
from ..strategies import Strategy
from .alarms import COUNTS, Alarms
from .classroom import classroom_of
from .final_summary import final_summary
from .mentor_check import build_mentor_check
from .records import RecordFile, scalars, summary
from .schedules import build_schedule
from .tensorboard import add_layout


@HOOKS.register_module()
class MentoringHook(Hook):
    """Records statistics of the mentors, sets schedules and checks the mentors.

    Every ``interval`` iterations it records the strategy's statistics, averaged over the iterations
    since the last record and over all processes. They are written to the message hub and all
    visualizer backends (as ``mentor/NAME/...``; statistics of the classroom have no prefix), to
    ``mentoring.jsonl`` in the work_dir, which ``--resume`` continues, and to one line of the log.
    They have the same names in all strategies, of which not all record each:

    - ``score``, ``student_score``: mean score of the mentor and the student,
    - ``active`` (ClassroomKD): fraction of labelled items (samples, or joints) that the mentor
      teaches,
    - ``rank_share`` (ClassroomKD): M times the mentor's fraction of the sum of all members' scores;
      greater is better, and the mean over student and mentors is M / (M + 1),
    - ``temperature`` (ClassroomKD), ``weight`` (the others): their means,
    - ``share``: the mentor's fraction of the total loss,
    - ``invalid``: number of samples on which its output was not finite,
    - ``constant``, ``huge``: number of samples on which its output was constant, or above 10,000;
      only where there are any.

    TensorBoard's tab *Custom Scalars* has one chart for each of them with all mentors. The mean
    time in seconds that the mentors take in a step is ``mentor_time`` in MMEngine's log, beside
    ``data_time``. When training ends, a summary is logged.

    Args:
        interval: Iterations between two records. Default: the one of ``default_hooks.logger``.
        weight: Schedule of ``strategy.weight``: a number or a dict, see
            :func:`mmkd_classroom.hooks.schedules.build_schedule`. Default: no schedule.
        tau_max: Schedule of ClassroomKD's ``tau_max``.
        mentor_check: Arguments of :class:`MentorCheck` (``{}`` for its defaults), which scores the
            mentors before training; None for no check.
        report: Whether to write ``report.html`` to the work_dir when training ends, as
            ``python -m mmkd_classroom.report`` does.
        stop_on_alarm: Whether training stops with an error at the first record with a loss of the
            student that is not finite, or with an ``invalid``, ``constant`` or ``huge`` output of a
            mentor. By default, each is warned of once.
        **unknown: Raise an error that lists the options.
    """

    # Before CheckpointHook, so that all records up to a checkpoint are written when it is saved.
    priority = 'NORMAL'

    def __init__(
        self,
        interval: int | None = None,
        weight: float | dict | None = None,
        tau_max: float | dict | None = None,
        mentor_check: dict | None = None,
        report: bool = False,
        stop_on_alarm: bool = False,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, MentoringHook, 'MentoringHook')
        if interval is not None and not (isinstance(interval, int) and interval >= 1):
            raise ClassroomError(
                f'MentoringHook.interval is {interval!r}: give a whole number of at least 1, or '
                "None for the logger's."
            )
        for name, value in dict(report=report, stop_on_alarm=stop_on_alarm).items():
            if not isinstance(value, bool):
                raise ClassroomError(f'MentoringHook.{name} is {value!r}: give True or False.')
        self.interval = interval
        self.schedules = {
            name: build_schedule(cfg, f'MentoringHook.{name}')
            for name, cfg in dict(weight=weight, tau_max=tau_max).items()
            if cfg is not None
        }
        self.mentor_check = None if mentor_check is None else build_mentor_check(mentor_check)
        self.report = report
        self._alarms = Alarms(stop_on_alarm)
        self._has_layout = False

    def before_train(self, runner: Runner) -> None:
        """Check the schedules and the mentors before training."""
        classroom = classroom_of(runner)
        strategy = classroom.strategy
        missing = [name for name in self.schedules if getattr(strategy, name, None) is None]
        if missing:
            raise ClassroomError(
                f'MentoringHook schedules {missing}, which model.strategy = '
                f'{type(strategy).__name__} does not use with its options: remove it, or choose '
                'a strategy that does (ClassroomKD has tau_max).'
            )
        if 'tau_max' in self.schedules and not classroom.divergence.of_distributions:
            raise ClassroomError(
                'MentoringHook.tau_max is not used by model.divergence = '
                f'{type(classroom.divergence).__name__}, which has no temperature: leave it out.'
            )
        missing = [name for name in ('jinja2', 'plotly') if find_spec(name) is None]
        if self.report and missing:
            raise ClassroomError(
                f'MentoringHook.report needs {" and ".join(missing)}: install them '
                f'(pip install {" ".join(missing)}), or leave report out.'
            )
        if self.mentor_check is not None:
            self.mentor_check.run(runner, classroom)
        self._start_records(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the scheduled values for this iteration."""
        strategy = classroom_of(runner).strategy
        for name, schedule in self.schedules.items():
            setattr(strategy, name, schedule(runner.iter / runner.max_iters))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Record at the interval."""
        if self.every_n_train_iters(runner, self.interval):
            self._record(runner, runner.iter + 1, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """Record the remaining iterations, log a summary, and write the report."""
        self._record(runner, runner.iter, runner.epoch)
        records = self._file.read() if is_main_process() else []
        if records:
            runner.logger.info(final_summary(records, runner.message_hub, runner.work_dir))
        if records and self.report:
            _write_report(runner)

    def _start_records(self, runner: Runner) -> None:
        if self.interval is None:
            loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
            self.interval = loggers[0].interval if loggers else 50
        self._file = RecordFile(runner.work_dir)
        if is_main_process():
            done = self._file.start(runner.iter, runner.log_dir)
            if done:
                runner.logger.info(done)

    def _record(self, runner: Runner, iteration: int, epoch: int) -> None:
        classroom = classroom_of(runner)
        steps = classroom.statistics.steps
        means = classroom.statistics.read()
        if means is None:
            return
        # Beside MMEngine's own `time` and `data_time`, in its line and its files.
        runner.message_hub.update_scalar('train/mentor_time', classroom.mentor_time.read() or 0.0)
        record: dict[str, Any] = dict(iter=iteration)
        if isinstance(runner.train_loop, EpochBasedTrainLoop):  # others do not count them
            record['epoch'] = epoch
        record.update({name: getattr(classroom.strategy, name) for name in self.schedules})
        numbers = {name: mean for name, mean in means.items() if not isinstance(mean, list)}
        record.update(numbers)
        record['mentors'] = {
            mentor.name: {name: mean[index] for name, mean in means.items() if name not in numbers}
            for index, mentor in enumerate(classroom.mentors)
        }
        for values in record['mentors'].values():
            for name in values.keys() & COUNTS:  # convert the mean back to a count
                values[name] = round(values[name] * steps * get_world_size())
                if name != 'invalid' and not values[name]:
                    del values[name]
        self._write(runner, record)
        self._alarms.check(runner, record, steps, self._factors(classroom.strategy))

    def _write(self, runner: Runner, record: dict[str, Any]) -> None:
        curves = scalars(record)
        # Without the prefix `train/`: MMEngine would print five values per mentor in its own line.
        for name, value in curves.items():
            runner.message_hub.update_scalar(name, value)
        runner.visualizer.add_scalars(curves, step=record['iter'])
        if is_main_process():
            self._file.append(record)
            if not self._has_layout:
                add_layout(runner, record)
                self._has_layout = True
        runner.logger.info(f'Mentors [{record["iter"]}/{runner.max_iters}]  {summary(record)}')

    def _factors(self, strategy: Strategy) -> str:
        """Options to lower if the mentors' losses are large, with their place and value."""
        set_here = [
            f'{"MentoringHook" if name in self.schedules else "model.strategy"}.{name} '
            f'(now {getattr(strategy, name):g})'
            for name in ('weight', 'tau_max')
            if getattr(strategy, name, None)
        ]
        return ' or '.join(set_here) or "the weights of model.strategy's losses"


def _write_report(runner: Runner) -> None:
    """Write the report in a process of its own: it builds models, and is no rank of this run."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, '-m', 'mmkd_classroom.report', runner.work_dir]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode == 0:
        runner.logger.info(f'Report: {result.stdout.strip().splitlines()[-1]}')
    else:
        runner.logger.warning(
            f'The report was not written: {result.stderr.strip()[-2000:]}\n'
            f'The training is complete; try again by: python -m mmkd_classroom.report '
            f'{runner.work_dir}'
        )
