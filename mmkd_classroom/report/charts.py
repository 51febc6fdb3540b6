"""Charts of a report, as Plotly figures.

Plotly reads some HTML in texts, so names are escaped.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from plotly import graph_objects as go

from .run import Run, unit_of_validation
from .samples import SampleOutputs

STUDENT, ALONE, NOBODY = '#20262e', '#9aa3ae', '#d9dde3'
MENTORS = ('#2a78d6', '#e8833a', '#17a673', '#8a5bd1', '#d64a6a', '#0fa3b1', '#a6761d', '#6b7280')
SHOWN_CATEGORIES = 40

_OVER_TIME = {
    'active': 'Samples that it teaches',
    'weight': 'Mean weight',
    'score': 'Mean score on the training batches',
    'temperature': 'Temperature',
    'share': 'Share of the loss',
}
_FRACTIONS = {'active', 'score', 'share'}


def colour_of(mentor: int) -> str:
    """Colour of a mentor in all charts."""
    return MENTORS[mentor % len(MENTORS)]


def over_time(run: Run) -> list[go.Figure]:
    """A chart for each statistic, with a line for each mentor, and the student's own."""
    names = list(run.records[0]['mentors'])
    present = run.records[-1]['mentors'][names[0]]
    return [_statistic(run, key, names) for key in _OVER_TIME if key in present]


def _statistic(run: Run, key: str, names: Sequence[str]) -> go.Figure:
    figure = _figure(_OVER_TIME[key], 'iteration')
    steps = [record['iter'] for record in run.records]
    rows = {n: [record['mentors'][n].get(key) for record in run.records] for n in names}
    for index, (name, values) in enumerate(rows.items()):
        figure.add_scatter(x=steps, y=values, name=escape(name), line_color=colour_of(index))
    own = None
    if key == 'score':
        own = [record.get('student_score') for record in run.records]
    elif key == 'share':  # the labels' part
        own = [1 - sum(share or 0 for share in shares) for shares in zip(*rows.values())]
    if own is not None:
        figure.add_scatter(x=steps, y=own, name='student', line=dict(color=STUDENT, width=3))
    if key in _FRACTIONS:
        figure.update_yaxes(tickformat='.0%')
    return figure


def results(run: Run, alone: Run | None, metric: str) -> go.Figure:
    """A metric over the validations, of the student in the classroom and alone."""
    figure = _figure(metric, unit_of_validation(run.config))
    members = [('in the classroom', run, STUDENT), ('alone', alone, ALONE)]
    for name, training, colour in members:
        lines = [line for line in training.validations if metric in line] if training else []
        if lines:
            figure.add_scatter(
                x=[line['step'] for line in lines],
                y=[line[metric] for line in lines],
                name=name,
                line_color=colour,
                mode='lines+markers',
            )
            if len(lines) <= 12:
                figure.update_xaxes(tickvals=[line['step'] for line in lines])
    return figure


def losses(run: Run, alone: Run | None) -> go.Figure:
    """The losses over training; alone, only the sum."""
    figure = _figure('Loss', 'iteration')
    steps = [line['step'] for line in run.steps]
    names = [name for name in run.steps[-1] if name.startswith('loss')]
    for name in names:
        colour = dict(loss=STUDENT, loss_mentors=MENTORS[0]).get(name)
        values = [line.get(name) for line in run.steps]
        figure.add_scatter(x=steps, y=values, name=escape(name), line_color=colour)
    if alone is not None:
        figure.add_scatter(
            x=[line['step'] for line in alone.steps],
            y=[line['loss'] for line in alone.steps],
            name='loss, alone',
            line=dict(color=ALONE, dash='dot'),
        )
    return figure


def who_teaches_what(outputs: SampleOutputs) -> go.Figure:
    """Share of each mentor in the teaching of each class or joint; columns sum to 1."""
    shares, categories = most_uneven(teaching_shares(outputs), outputs.categories)
    rows = [*outputs.members[1:], 'nobody']
    return _heat_map('Share of the weight', shares, rows, categories, 'Blues', '.0%')


def scores_by_category(outputs: SampleOutputs) -> go.Figure:
    """Mean score of each member on each class or joint, and how far the mentors are apart."""
    scores, rows = outputs.item_score, [*outputs.members]
    if len(rows) > 2:
        apart = np.ptp(scores[1:], axis=0)[None]  # NaN if one of them does not know it
        scores, rows = np.concatenate([scores, apart]), [*rows, 'disagreement']
    values, categories = most_uneven(by_category(outputs, scores), outputs.categories)
    return _heat_map(
        'Mean score; disagreement: best less worst mentor',
        values,
        rows,
        categories,
        'Greens',
        '.2f',
    )


def disagreement(outputs: SampleOutputs) -> go.Figure:
    """Mean absolute difference of the scores of two members."""
    score = outputs.item_score
    with np.errstate(invalid='ignore'):
        values = np.array([[_mean(np.abs(a - b)) for b in score] for a in score])
    return _heat_map(
        'Mean difference of two scores',
        values,
        outputs.members,
        outputs.members,
        'Oranges',
        '.2f',
        square=True,
    )


def teaching_shares(outputs: SampleOutputs) -> np.ndarray:
    """Share of each mentor, and of nobody, in the weights of each category.

    Each labelled item counts 1, which its mentors share by their weights, or which is nobody's.

    Returns:
        ``(M + 1, categories)``; a column sums to 1, and is NaN without an item.
    """
    weight = outputs.weight
    total = weight.sum(axis=0)  # (N, K)
    parts = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    parts = np.concatenate([parts, (total == 0)[None].astype(parts.dtype)])
    return by_category(outputs, np.where(outputs.labelled, parts, np.nan))


def by_category(outputs: SampleOutputs, values: np.ndarray) -> np.ndarray:
    """Means of values ``(R, N, K)`` over the items of each category, ``(R, categories)``."""
    categories = outputs.category_of.ravel()
    means = []
    for row in values.reshape(len(values), -1):
        known = ~np.isnan(row)
        count = np.bincount(categories[known], minlength=len(outputs.categories))
        total = np.bincount(categories[known], row[known], minlength=len(outputs.categories))
        means.append(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
    return np.stack(means)


def most_uneven(values: np.ndarray, categories: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Keep the categories that differ most from the mean, if there are too many for a chart."""
    if len(categories) <= SHOWN_CATEGORIES:
        return values, list(categories)
    centre = np.nanmean(values, axis=1, keepdims=True)
    unlike = np.nan_to_num(np.abs(values - centre).sum(axis=0), nan=-1)
    kept = np.sort(np.argsort(-unlike, kind='stable')[:SHOWN_CATEGORIES])
    return values[:, kept], [categories[index] for index in kept]


def cost(parts: dict[str, dict[str, float]]) -> go.Figure:
    """Seconds of a step by what they were spent on.

    Args:
        parts: For each training, seconds by name.
    """
    figure = _figure('A training step', 'seconds')
    colours = dict(zip(('waiting for data', 'mentors', 'student'), (NOBODY, MENTORS[0], STUDENT)))
    for name, colour in colours.items():
        figure.add_bar(
            y=list(parts),
            x=[seconds.get(name, 0) for seconds in parts.values()],
            name=name,
            orientation='h',
            marker_color=colour,
        )
    figure.update_layout(barmode='stack', height=170 + 50 * len(parts))
    figure.update_yaxes(autorange='reversed')
    return figure


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float('nan')


def _heat_map(
    title: str,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: str,
    form: str,
    square: bool = False,
) -> go.Figure:
    figure = _figure(title)
    few = len(columns) <= 20
    figure.add_heatmap(
        z=np.where(np.isnan(values), None, values.astype(float)).tolist(),
        x=list(map(escape, columns)),
        y=list(map(escape, rows)),
        colorscale=colours,
        zmin=0,
        texttemplate=f'%{{z:{form}}}' if few else None,
        hovertemplate=f'%{{y}}, %{{x}}: %{{z:{form}}}<extra></extra>',
        showscale=not few,
        xgap=1,
        ygap=1,
    )
    slanted = 50 if sum(map(len, columns)) > 110 else 0  # labels that do not fit side by side
    figure.update_layout(height=90 + slanted + 34 * len(rows), margin_b=25)
    figure.update_yaxes(autorange='reversed', showgrid=False, automargin=True)
    figure.update_xaxes(showgrid=False, automargin=True, side='bottom')
    if square:
        figure.update_layout(height=100 + 40 * len(rows))
    return figure


def _figure(title: str, below: str = '') -> go.Figure:
    return go.Figure(
        layout=dict(
            title=dict(text=escape(title), font_size=15, x=0.01),
            xaxis=dict(title=below, gridcolor='#eceff3'),
            yaxis=dict(gridcolor='#eceff3', zerolinecolor='#d9dde3'),
            template='plotly_white',
            margin=dict(l=50, r=15, t=45, b=45),
            height=310,
            legend=dict(orientation='h', y=-0.28, yanchor='top', x=0),
            font=dict(family='system-ui, sans-serif', size=12, color=STUDENT),
        )
    )
