"""Write the report of a classroom: one HTML file that needs no network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from ..checkpoints import load_weights
from ..errors import ClassroomError
from ..evaluation import evaluation
from ..hooks.overview import HEAD, member_costs, member_rows, method_of
from . import charts, pictures
from .choice import galleries
from .members import member_scores
from .run import Run, read_classroom, read_run
from .samples import SampleOutputs, build_classroom, run_on_samples

_TEMPLATE = 'page.html'


@dataclass(frozen=True)
class MemberTable:
    """What is known of a classroom beside its log.

    Attributes:
        head: Titles of the table of its members.
        rows: The student, then the mentors.
        note: What the scores are.
        outputs: Its outputs on samples; None without samples.
    """

    head: list[str]
    rows: list[list[str]]
    note: str = ''
    outputs: SampleOutputs | None = None


def write_report(
    work_dirs: Sequence[Path | str],
    out: Path | str,
    alone: Path | str | None = None,
    samples: int = 1024,
) -> Path:
    """Write the report of a classroom.

    Args:
        work_dirs: Its work directory, or several in which it was resumed, in this order.
        out: HTML file to write.
        alone: Work directory of the same student's training alone, to compare with.
        samples: Number of training samples that show who teaches what, and of validation samples
            (or test samples, if there is no validation) that score the members. With 0 no model is
            built, and the report has only what was logged.

    Returns:
        ``out``.

    Raises:
        ClassroomError: The directories are not those of a classroom, or its parts are gone.
    """
    if samples < 0:
        raise ClassroomError(f'--samples {samples}: give 0 or more.')
    run = read_classroom(work_dirs)
    single = None if alone is None else read_run([alone])
    if single is not None and single.records:
        raise ClassroomError(f'--alone {alone} is a classroom, too: name the student alone.')
    classroom = _examine(run, single, samples) if samples else _logged(run)
    environment = Environment(
        loader=PackageLoader('mmkd_classroom.report', '.'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {**_summary(run, single), **_classroom(run, classroom), **_charts(run, single)}
    if classroom.outputs is not None:
        context.update(_sample_charts(classroom.outputs))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    text = environment.get_template(_TEMPLATE).render(plotly_js=Markup(get_plotlyjs()), **context)
    out.write_text(text, encoding='utf-8')
    return out


def _examine(run: Run, alone: Run | None, samples: int) -> MemberTable:
    """Build the classroom again, score its members, and run them on samples."""
    model, dataset = build_classroom(run)
    outputs = run_on_samples(model, dataset, samples)
    count, metrics = member_scores(model, run.config, samples)
    height, width = outputs.images[0].shape[:2]
    size = (width, height)
    head, rows = [*HEAD], member_rows(model, size, member_costs(model, size))
    note = method_of(model)
    if metrics:
        if alone is not None:
            load_weights(model, alone.checkpoint, key='--alone')
            metrics += member_scores(model, run.config, samples, student_alone=True)[1]
            rows.append(['student alone', *rows[0][1:]])
        names = list(metrics[0])[:2]
        head += names
        rows = [[*row, *(f'{m[name]:.4g}' for name in names)] for row, m in zip(rows, metrics)]
        data = dict(val='validation', test='test')[evaluation(run.config)[0]]
        note += (
            f' Scores are those of the last checkpoint on {count} {data} samples, without '
            'test-time augmentation.'
        )
    return MemberTable(head, rows, note, outputs)


def _logged(run: Run) -> MemberTable:
    names = ['student', *run.records[-1]['mentors']]
    return MemberTable(['member'], [[name] for name in names], 'The models were not built.')


def _summary(run: Run, alone: Run | None) -> dict[str, Any]:
    last = run.records[-1]
    tiles = []
    for metric in run.metrics[:2]:
        value, base = run.result(metric), alone and alone.result(metric)
        note = '' if base is None else f'{value - base:+.3g} against {base:.4g} alone'
        tiles.append(dict(name=metric, value=f'{value:.4g}', note=note))
    for name, values in last['mentors'].items():
        key = 'active' if 'active' in values else 'weight'
        first = run.records[0]['mentors'][name].get(key)
        if key in values:
            form = '.0%' if key == 'active' else '.2f'
            word = 'teaches' if key == 'active' else 'mean weight'
            tiles.append(
                dict(
                    name=f'{name} {word}',
                    value=f'{values[key]:{form}}',
                    note='' if first is None else f'{first:{form}} at first',
                )
            )
    epochs = f'{last["epoch"]} epochs, ' if last.get('epoch') else ''
    return dict(
        title=run.work_dir.resolve().name,
        subtitle=f'{epochs}{last["iter"]} iterations; {run.work_dir}',
        tiles=tiles,
    )


def _classroom(run: Run, classroom: MemberTable) -> dict[str, Any]:
    count = len(run.records[-1]['mentors'])
    return dict(
        classroom=classroom,
        colours=[charts.STUDENT, *map(charts.colour_of, range(count)), charts.ALONE],
    )


def _charts(run: Run, alone: Run | None) -> dict[str, Any]:
    figures = [charts.results(run, alone, metric) for metric in run.metrics[:2]]
    figures.append(charts.losses(run, alone))
    spent = {'in the classroom': seconds_of_step(run)}
    if alone is not None:
        spent['alone'] = seconds_of_step(alone)
    return dict(
        result_note='' if run.metrics else 'This training did not validate.',
        result_charts=list(map(_html, figures)),
        time_charts=list(map(_html, charts.over_time(run))),
        cost_note=_cost_note(run, alone),
        cost_chart=_html(charts.cost(spent)),
    )


def seconds_of_step(run: Run) -> dict[str, float]:
    """Mean seconds of a training step by what they were spent on, from the training's log."""
    names = ('time', 'data_time', 'mentor_time')
    whole, data, mentors = (run.mean(name) or 0.0 for name in names)
    own = max(0.0, whole - data - mentors)
    return {'waiting for data': data, 'mentors': mentors, 'student': own}


def _cost_note(run: Run, alone: Run | None) -> str:
    parts = seconds_of_step(run)
    whole = sum(parts.values()) or math.nan  # no step was timed
    text = 'Means of a training step, without validation and checkpoints: '
    text += ', '.join(f'{name} {value / whole:.0%}' for name, value in parts.items())
    text += f' of {whole:.3g} s. The student: forward, backward and optimizer.'
    memory = max((line['memory'] for line in run.steps if 'memory' in line), default=None)
    if memory is not None:
        text += f' Peak memory of the GPU: {memory} MiB.'
    if alone is not None:
        single = sum(seconds_of_step(alone).values()) or math.nan
        text += f' A step costs {whole / single:.2f} times one alone.'
    return text


def _sample_charts(outputs: SampleOutputs) -> dict[str, Any]:
    figures = [charts.who_teaches_what(outputs), charts.scores_by_category(outputs)]
    category = 'class' if outputs.kind == 'classes' else 'joint'
    hidden = max(0, len(outputs.categories) - charts.SHOWN_CATEGORIES)
    return dict(
        has_samples=True,
        kind=outputs.kind,
        category_note=(
            f'The last checkpoint on {len(outputs.images)} training samples, as they are augmented '
            f'in training. On each labelled {category} the mentors '
            'have shares by their weights; without a weight nobody teaches it.'
            + (f' {hidden} more differ less from the mean.' if hidden else '')
        ),
        figures=_joint_figures(outputs),
        category_charts=list(map(_html, figures)),
        disagreement_chart=_html(charts.disagreement(outputs)),
        samples_note='Bold members have weight on the sample; it is beside them.',
        galleries=[
            dict(
                title=gallery.title,
                reason=gallery.reason,
                cards=[_card(outputs, sample) for sample in gallery.samples],
            )
            for gallery in galleries(outputs)
        ],
    )


def _joint_figures(outputs: SampleOutputs) -> list[dict[str, str]]:
    if outputs.kind == 'classes' or not outputs.links:
        return []
    shares = charts.teaching_shares(outputs)
    drawn = pictures.joint_figures(outputs, shares, float(np.nanmax(shares)))
    names = [*outputs.members[1:], 'nobody']
    colours = [*map(charts.colour_of, range(len(names) - 1)), charts.NOBODY]
    return [
        dict(name=name, colour=colour, picture=picture)
        for name, colour, picture in zip(names, colours, drawn)
    ]


def _card(outputs: SampleOutputs, sample: int) -> dict[str, Any]:
    weights = outputs.sample_weight[:, sample]
    members = []
    for index, name in enumerate(outputs.members):
        weight = weights[index - 1] if index else None
        members.append(
            dict(
                name=name,
                colour=charts.colour_of(index - 1) if index else charts.STUDENT,
                score=f'{outputs.score[index, sample]:.2f}',
                taught=bool(index and weight > 0),
                weight='' if weight is None else f'{weight:.2f}' if weight > 0 else 'silent',
            )
        )
    if outputs.kind == 'classes':
        return _class_card(outputs, sample, members)
    truth, *drawn = pictures.pose_pictures(outputs, sample)
    for member, picture in zip(members, drawn):
        member['picture'] = picture
        if member['taught']:
            member['weight'] = f'weight {member["weight"]}'
    return dict(index=sample, picture=truth, members=members)


def _class_card(
    outputs: SampleOutputs, sample: int, members: list[dict[str, Any]]
) -> dict[str, Any]:
    truth = int(outputs.truth[sample])
    for index, member in enumerate(members):
        predicted = int(outputs.predicted[index, sample])
        member['says'] = f'{outputs.categories[predicted]} {outputs.confidence[index, sample]:.0%}'
        member['right'] = predicted == truth
    picture = pictures.plain_picture(outputs.images[sample])
    return dict(index=sample, picture=picture, truth=outputs.categories[truth], members=members)


def _html(figure: Figure) -> Markup:
    settings = dict(displayModeBar=False, responsive=True)
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=settings))
