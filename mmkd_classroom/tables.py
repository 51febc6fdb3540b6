"""Tables for the terminal and for Markdown files."""

from collections.abc import Sequence


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table with columns as wide as their longest cell.

    Example:
        >>> print(text_table(['mentor', 'AP'], [['hrnet', '75.6']]))
        mentor  AP
        hrnet   75.6
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return '\n'.join(
        '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Example:
        >>> print(markdown_table(['mentor', 'AP'], [['hrnet', '75.6']]))
        | mentor | AP |
        |---|---|
        | hrnet | 75.6 |
    """
    lines = [f'| {" | ".join(row)} |' for row in (head, *rows)]
    return '\n'.join([lines[0], '|---' * len(head) + '|', *lines[1:]])
