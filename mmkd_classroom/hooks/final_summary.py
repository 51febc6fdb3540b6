"""Summary of a training on one screen, when it ends."""

from typing import Any

from mmengine.logging import MessageHub

from ..tables import text_table

_SHOWN = {'active': 'teaches', 'weight': 'weight', 'score': 'score', 'share': 'share of loss'}
_TIMES = ('time', 'data_time', 'mentor_time')


def final_summary(records: list[dict[str, Any]], hub: MessageHub, work_dir: str) -> str:
    """Return a table of who taught, the validation, and the time.

    Args:
        records: All records of the training, at least one.
        hub: MMEngine's scalars of the training.
        work_dir: Its work directory, for the command that is named.
    """
    last = records[-1]
    scalars = {name: buffer.data[0] for name, buffer in hub.log_scalars.items()}
    parts = [
        f'The classroom after {last["iter"]} iterations (first record -> last):',
        _table(records[0], last),
        *_warning(last),
        *_validation(scalars),
        *_time(scalars),
        f'Charts and samples: python -m mmkd_classroom.report {work_dir}',
    ]
    return '\n'.join(parts)


def _table(first: dict[str, Any], last: dict[str, Any]) -> str:
    keys = [key for key in _SHOWN if key in next(iter(last['mentors'].values()))]
    rows = []
    for name, values in last['mentors'].items():
        start = first['mentors'].get(name, {})
        rows.append([name, *(_change(start.get(key), values[key]) for key in keys)])
    if 'student_score' in last and 'score' in keys:
        own = _change(first.get('student_score'), last['student_score'])
        rows.append(['student', *(own if key == 'score' else '' for key in keys)])
    return text_table(['member', *(_SHOWN[key] for key in keys)], rows)


def _warning(last: dict[str, Any]) -> list[str]:
    """A note if no mentor is ahead of the student."""
    scores = [values.get('score') for values in last['mentors'].values()]
    own = last.get('student_score')
    if own is None or None in scores or max(scores) > own:
        return []
    return [
        'In the last record no mentor has a higher score than the student, on training samples: '
        'see docs/choose_mentors.md. If the training set is small, the student may only have '
        'memorised it.'
    ]


def _change(start: float | None, end: float) -> str:
    return f'{end:.2f}' if start is None else f'{start:.2f} -> {end:.2f}'


def _validation(scalars: dict[str, Any]) -> list[str]:
    found = {name.removeprefix('val/'): v for name, v in scalars.items() if name.startswith('val/')}
    lines = [
        f'{name}: {values[-1]:.4g} in the end'
        + (
            f', between {values.min():.4g} and {values.max():.4g} in {len(values)} validations'
            if len(values) > 1
            else ''
        )
        for name, values in found.items()
        if name not in _TIMES and len(values)
    ]
    return lines[:3]


def _time(scalars: dict[str, Any]) -> list[str]:
    steps, data, mentors = (scalars.get(f'train/{name}') for name in _TIMES)
    if steps is None or not steps.sum() > 0:
        return []
    parts = {'waiting for data': data, 'mentors': mentors}
    shares = ''.join(
        f'{name} {values.mean() / steps.mean():.0%}, '
        for name, values in parts.items()
        if values is not None and len(values)
    )
    minutes = steps.sum() / 60
    spent = f'{minutes:.0f}' if minutes >= 10 else f'{minutes:.2g}'
    return [f'{spent} minutes of training steps: {shares}the rest the student']
