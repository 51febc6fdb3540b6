"""The directives ``error-messages`` and ``warning-messages``: what the package says, by file.

The messages are read from the source, so none is missing and none is out of date.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from source_tables import SourceTable
from sphinx.application import Sphinx

PACKAGE = Path(__file__).resolve().parents[2] / 'mmkd_classroom'
_REQUIREMENT = 'model.strategy.⟨option⟩ is ⟨value⟩: it '


class ErrorMessages(SourceTable):
    """Insert the messages of all errors of the package."""

    def text(self) -> str:
        """Return one definition list for each file."""
        return _listing(error_message)


class WarningMessages(SourceTable):
    """Insert all warnings of the package."""

    def text(self) -> str:
        """Return one definition list for each file."""
        return _listing(warning_message)


def messages(read: Callable[[ast.Call], ast.expr | None]) -> dict[str, list[str]]:
    """Return the messages by the first line of their module's docstring.

    Args:
        read: Returns the expression of the message of a call, or None if the call has none.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for path in sorted(PACKAGE.rglob('*.py')):
        module = ast.parse(path.read_text())
        calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda call: call.lineno):
            text = template(_assigned(read(call), module))
            if text:
                title = ast.get_docstring(module).splitlines()[0]
                found[f'{title}|{path.relative_to(PACKAGE.parent)}'][text] = None
    return {title: list(texts) for title, texts in found.items()}


def error_message(call: ast.Call) -> ast.expr | None:
    """Message of an error for the user, or of a requirement on an option of a strategy."""
    name = getattr(call.func, 'id', None)
    if name in ('ClassroomError', 'UnsafeCheckpointError'):
        return call.args[0]
    if name == 'require' and len(call.args) == 4:
        what = _parts(call.args[3])
        return ast.JoinedStr([ast.Constant(_REQUIREMENT), *what, ast.Constant('.')])
    return None


def warning_message(call: ast.Call) -> ast.expr | None:
    """Message of a warning in the log."""
    name = getattr(call.func, 'attr', getattr(call.func, 'id', None))
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    level = any(getattr(argument, 'attr', None) == 'WARNING' for argument in given)
    if name == 'warning' or (name == 'print_log' and level):
        return call.args[0]
    return None


def template(message: ast.expr | None) -> str:
    """Return a message with ⟨placeholders⟩, or '' for an expression that is no text."""
    return ' '.join(''.join(map(_text, _parts(message))).split())


def _assigned(message: ast.expr | None, module: ast.Module) -> ast.expr | None:
    """Value of a message that is a variable: the one that was assigned last before it."""
    if not isinstance(message, ast.Name):
        return message
    values = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], 'id', None) == message.id
        and node.lineno < message.lineno
    ]
    return max(values, key=lambda value: value.lineno, default=None)


def _parts(message: ast.expr | None) -> list[ast.expr]:
    if isinstance(message, ast.JoinedStr):
        return message.values
    return [message] if isinstance(message, ast.Constant) else []


def _text(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return part.value
    value = part.value
    while isinstance(value, ast.Call) and value.args and _name(value) is None:
        value = value.args[0]
    return f'⟨{_name(value) or "…"}⟩' if _name(value) != 'did_you_mean' else ''


def _name(value: ast.expr) -> str | None:
    """Name of a variable or an attribute; that of a function only if it is a suggestion."""
    if isinstance(value, ast.Call):
        return 'did_you_mean' if getattr(value.func, 'id', '') == 'did_you_mean' else None
    return getattr(value, 'attr', getattr(value, 'id', None))


def _listing(read: Callable[[ast.Call], ast.expr | None]) -> str:
    return '\n'.join(_sections(messages(read)))


def _sections(found: dict[str, list[str]]) -> Iterator[str]:
    for title, texts in found.items():
        summary, path = title.rsplit('|', 1)
        yield f'**{summary.rstrip(".")}** (``{path}``)\n'
        for text in texts:
            yield f'- {_escaped(text)}'
        yield ''


def _escaped(text: str) -> str:
    return ''.join(f'\\{letter}' if letter in '\\*`_|' else letter for letter in text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive('error-messages', ErrorMessages)
    app.add_directive('warning-messages', WarningMessages)
    return {'parallel_read_safe': True}
