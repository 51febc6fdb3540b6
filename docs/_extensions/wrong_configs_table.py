"""The directive ``wrong-configs``: wrong configs, and their messages as the tests expect them."""

import runpy
from pathlib import Path
from typing import Any

from source_tables import SourceTable, literal, rst_table
from sphinx.application import Sphinx

CASES = Path(__file__).resolve().parents[2] / 'tests' / 'wrong_configs.py'


class WrongConfigs(SourceTable):
    """Insert the cases of a group."""

    required_arguments = 1

    def text(self) -> str:
        """Return a table."""
        return wrong_configs(runpy.run_path(str(CASES))[self.arguments[0]])


def wrong_configs(cases: list[Any]) -> str:
    """Return a table with the change and the message of each case."""
    rows = []
    for case in cases:
        change = [literal(f'{key} = {value!r}') for key, value in case.change.items()]
        lines = [f'| {literal(line.strip())}' for line in case.message.splitlines()]
        rows.append(['\n\n'.join(change), '\n'.join(lines)])
    return rst_table(['change', 'message'], rows, [30, 70])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('wrong-configs', WrongConfigs)
    return {'parallel_read_safe': True}
