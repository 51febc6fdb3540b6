"""What the generated tables share: reStructuredText tables, and Google docstrings."""

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class SourceTable(SphinxDirective):
    """Base class of directives that insert a table. A subclass implements :meth:`text`."""

    has_content = True

    def text(self) -> str:
        """Return reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the text where the directive is."""
        lines = StringList(self.text().splitlines(), source=f'<{self.name}>')
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(lines, 0, section, match_titles=True)
        return section.children


def rst_table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return a list-table."""
    lines = [
        '.. list-table::',
        '   :header-rows: 1',
        f'   :widths: {" ".join(map(str, widths))}',
        '',
    ]
    for row in [head, *rows]:
        for index, cell in enumerate(row):
            first, *others = (cell or ' ').splitlines()
            lines.append(f'   {"* -" if index == 0 else "  -"} {first}')
            lines += [f'       {line}' for line in others]
    return '\n'.join(lines)


def literal(text: Any) -> str:
    """Return text as an inline literal, in which backslashes and spaces stay."""
    return f'``{text}``'


def summary(documented: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return ' '.join(inspect.getdoc(documented).split('\n\n')[0].split())


def arguments(documented: Any) -> dict[str, str]:
    """Return the descriptions in the section ``Args`` of a Google docstring."""
    section = re.search(r'^Args:\n((?:[ \t]+.*\n?|\n)+)', inspect.getdoc(documented) or '', re.M)
    entries = textwrap.dedent(section[1] if section else '')
    found = re.findall(r'^(\*{0,2}\w+): *(.*(?:\n+[ \t]+.*)*)', entries, re.M)
    return {name: ' '.join(description.split()) for name, description in found}
