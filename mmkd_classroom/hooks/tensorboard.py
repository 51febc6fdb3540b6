"""Charts of TensorBoard that show all mentors together."""

import re
from typing import Any

from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend


def add_layout(runner: Runner, record: dict[str, Any]) -> None:
    """Add a chart for each statistic to TensorBoard's tab *Custom Scalars*, if it is used.

    Args:
        runner: Its visualizer has the curves of :func:`mmkd_classroom.hooks.records.scalars`.
        record: A record, for the names of mentors and statistics.
    """
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, TensorboardVisBackend):
            backend.experiment.add_custom_scalars(layout(record))


def layout(record: dict[str, Any]) -> dict[str, dict[str, list]]:
    """One chart for each statistic, with the curves of all mentors.

    Example:
        >>> layout(dict(student_score=0.4, mentors=dict(a=dict(score=0.5), b=dict(score=0.6))))
        {'mentors': {'score': ['Multiline', ['^mentor/a/score$', '^mentor/b/score$', \
'^student_score$']]}}
    """
    charts = {}
    for key in next(iter(record['mentors'].values())):
        tags = [f'mentor/{name}/{key}' for name in record['mentors']]
        own = f'student_{key}'
        tags += [own] if own in record else []
        # TensorBoard reads tags as regular expressions; `re.escape` leaves only the slash as it is.
        charts[key] = ['Multiline', [f'^{re.escape(tag)}$' for tag in tags]]
    return {'mentors': charts}
