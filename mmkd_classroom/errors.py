"""The one error a user meets when a config or an input does not fit."""

import difflib
from collections.abc import Iterable


class ClassroomError(ValueError):
    """A config key, file or batch that a classroom cannot work with.

    The message names the key or file and says what to do about it. It is a :class:`ValueError`,
    not an :class:`ImportError`, because MMEngine's registries swallow the latter.
    """


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """What to add to a message about an unknown name.

    Args:
        name: As it was written.
        choices: What it can be.

    Returns:
        ``" (did you mean 'x'?)"``, or nothing where no choice is like it.

    Example:
        >>> did_you_mean('num_sample', ['num_samples', 'metric'])
        " (did you mean 'num_samples'?)"
    """
    close = difflib.get_close_matches(str(name), list(choices), n=1)
    return f' (did you mean {close[0]!r}?)' if close else ''
