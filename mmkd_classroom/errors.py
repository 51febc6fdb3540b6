"""The one error a user meets when a config or an input does not fit."""

import difflib
from collections.abc import Iterable


class ClassroomError(ValueError):
    """A config key, file or batch that a classroom cannot work with.

    The message names the key or file and says what to do about it. It is a :class:`ValueError`,
    not an :class:`ImportError`, because MMEngine's registries swallow the latter.
    """


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """The part of a message that names the choice nearest to what was written.

    Returns:
        Empty where none is near.

    Example:
        >>> did_you_mean('taumax', ['weight', 'tau_max'])
        " (did you mean 'tau_max'?)"
    """
    near = difflib.get_close_matches(str(name), list(choices), n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''
