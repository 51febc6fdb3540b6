"""Format the results of sweep_zoo.py as Markdown."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from _zoo import EXCLUDED, MOST_PARAMETERS, ROLES, STOCK

from mmkd_classroom.tables import markdown_table


def table(records: Sequence[dict[str, Any]], command: str) -> str:
    """Format records as Markdown: counts, reasons and one line per config."""
    roles = [STOCK, *ROLES]
    counts = {role: Counter(_kind(r['outcomes'].get(role, '–')) for r in records) for role in roles}
    kinds = sorted({kind for counter in counts.values() for kind in counter} - {'–'})
    lines = [
        '# The zoo: stock configs as students and as mentors',
        '',
        f'`{command}` wrote this table. Each config made one stock training step on generated',
        'labels; then one as the student of a mentor of its own kind, where its own losses must be',
        'those of the stock step to the last bit and its learning rates the same; then one as the',
        'mentor of a small standard student (ResNet-18), classifiers made for 224 pixels also of a',
        'student at 160. Weights are random, batches have two samples, precision is full, and',
        f'models of more than {MOST_PARAMETERS / 1e6:.0f} M parameters are skipped. A config that',
        'fails alone (`fails`) was not tried as a student.',
        '',
        'Not tried: '
        + '; '.join(
            f'{package}: {reason}'
            for package, patterns in EXCLUDED.items()
            for reason in patterns.values()
        )
        + '. Of classifiers, one of each kind (architecture, head, loss) unless `--all`.',
        '',
        markdown_table(
            [f'{len(records)} configs', *kinds],
            [[role, *(str(counts[role][kind] or '') for kind in kinds)] for role in roles],
        ),
    ]
    return '\n'.join([*lines, '', *_reasons(records), *_rows(records, roles)])


def _reasons(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each reason once, with the number of configs."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for role, outcome in record['outcomes'].items():
            if outcome not in ('ok', '–'):
                found.setdefault((role, _general(outcome)), []).append(record['run_id'])
    items = sorted(found.items(), key=lambda item: (item[0][0], -len(item[1])))
    rows = [[role, str(len(names)), _cell(what), names[0]] for (role, what), names in items]
    yield from ('## Reasons', '', markdown_table(['role', 'configs', 'outcome', 'such as'], rows))
    yield ''


def _rows(records: Sequence[dict[str, Any]], roles: Sequence[str]) -> Iterator[str]:
    rows = [
        [record['run_id'], *(_cell(record['outcomes'].get(role, '–')) for role in roles)]
        for record in sorted(records, key=lambda record: record['run_id'])
    ]
    yield from ('## Configs', '', markdown_table(['config', *roles], rows), '')


def _kind(outcome: str) -> str:
    return outcome.split(':')[0]


def _general(outcome: str) -> str:
    """Replace numbers, in which configs of one kind differ."""
    return re.sub(r'\d+(\.\d+)?(e[-+]\d+)?', 'N', outcome)


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')
