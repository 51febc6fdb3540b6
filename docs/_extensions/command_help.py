"""The directive ``command-help``: what a command of the package prints for ``--help``."""

import contextlib
import importlib
import io
import os
import sys
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CommandHelp(SphinxDirective):
    """Insert the help of the module that is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one literal block."""
        text = command_help(self.arguments[0])
        return [nodes.literal_block(text, text, language='none')]


def command_help(name: str) -> str:
    """Return what a module with ``parse_args`` prints for ``--help``.

    Args:
        name: Name of the module, such as ``mmkd_classroom.train``.
    """
    module = importlib.import_module(name)
    program = f'python -m {name.removesuffix(".__main__")}'
    with (
        mock.patch.object(sys, 'argv', [program, '--help']),
        mock.patch.dict(os.environ, COLUMNS='96', NO_COLOR='1'),
        contextlib.redirect_stdout(io.StringIO()) as printed,
        contextlib.suppress(SystemExit),
    ):
        module.parse_args()
    return printed.getvalue()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('command-help', CommandHelp)
    return {'parallel_read_safe': True}
