"""The mentoring hook: schedules, the entrance check, and the record of who taught what."""

import json
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import ClassroomError
from ..registry import HOOKS
from .classroom import classroom_of
from .entrance import EntranceCheck
from .schedules import build_schedule


@HOOKS.register_module()
class MentoringHook(Hook):
    """Watches over a classroom.

    Each ``interval`` iterations it writes the strategy's statistics, averaged over them and over
    all processes, for every mentor as ``mentor/NAME/...`` and for the classroom as they are named
    into the message hub, where every logger and visualizer finds them, and one line into
    ``mentoring.jsonl`` beside the log. Strategies name them alike:

    - ``score``, ``student_score``: mean score of the mentor and the student,
    - ``active``: share of labelled items (samples, or joints) that the mentor teaches,
    - ``rank``, ``temperature``, ``weight``: their means,
    - ``share``: the mentor's part of the whole loss,
    - ``invalid``: number of samples on which its output was not finite, so far.

    Args:
        interval: Iterations between two records.
        weight: Schedule of ``strategy.weight``: a number or a dict, see
            :func:`mmkd_classroom.hooks.schedules.build_schedule`. By default it stays as it is.
        tau_max: Schedule of ``strategy.tau_max``.
        entrance: Arguments of :class:`EntranceCheck` (``{}`` for its defaults) to examine the
            mentors before training; None to let them in unseen.
    """

    # Before LoggerHook, so that it logs the record of the same iteration.
    priority = 'NORMAL'

    def __init__(
        self,
        interval: int = 50,
        weight: float | dict | None = None,
        tau_max: float | dict | None = None,
        entrance: dict | None = None,
    ) -> None:
        if interval < 1:
            raise ClassroomError(f'MentoringHook.interval is {interval}: take at least 1.')
        self.interval = interval
        self.schedules = {
            name: build_schedule(cfg, f'MentoringHook.{name}')
            for name, cfg in dict(weight=weight, tau_max=tau_max).items()
            if cfg is not None
        }
        self.entrance = None if entrance is None else EntranceCheck(**entrance)
        self._invalid: dict[str, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Check the schedules and the mentors while nothing is trained yet."""
        classroom = classroom_of(runner)
        missing = [name for name in self.schedules if not hasattr(classroom.strategy, name)]
        if missing:
            raise ClassroomError(
                f'MentoringHook schedules {missing}, which model.strategy = '
                f'{type(classroom.strategy).__name__} does not have.'
            )
        if self.entrance is not None:
            self.entrance.run(runner, classroom)

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
        """Record what is left over."""
        self._record(runner, runner.iter, runner.epoch)

    def _record(self, runner: Runner, iteration: int, epoch: int) -> None:
        classroom = classroom_of(runner)
        steps = classroom.journal.steps
        means = classroom.journal.read()
        if means is None:
            return
        record: dict[str, Any] = dict(iter=iteration, epoch=epoch)
        record.update({name: getattr(classroom.strategy, name) for name in self.schedules})
        numbers = {name: mean for name, mean in means.items() if not isinstance(mean, list)}
        record.update(numbers)
        record['mentors'] = {
            mentor.name: {name: mean[index] for name, mean in means.items() if name not in numbers}
            for index, mentor in enumerate(classroom.bank)
        }
        for name, values in record['mentors'].items():
            if 'invalid' in values:
                values['invalid'] = self._count_invalid(
                    runner, name, round(values['invalid'] * steps * get_world_size())
                )
            for key, value in values.items():
                runner.message_hub.update_scalar(f'train/mentor/{name}/{key}', value)
        for name, value in numbers.items():
            runner.message_hub.update_scalar(f'train/{name}', value)
        if is_main_process():
            with open(Path(runner.log_dir) / 'mentoring.jsonl', 'a') as file:
                file.write(json.dumps(record) + '\n')

    def _count_invalid(self, runner: Runner, name: str, count: int) -> int:
        if count and not self._invalid.get(name):
            runner.logger.warning(
                f'Mentor {name} gave values that are not finite for {count} samples; it does not '
                'teach on such samples. They are counted in mentoring.jsonl; this warning comes '
                'once.'
            )
        self._invalid[name] = self._invalid.get(name, 0) + count
        return self._invalid[name]
