"""The one error a user meets when a config or an input does not fit, and how it is worded."""

import difflib
import textwrap
from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


class ClassroomError(ValueError):
    """A config key, file or batch that a classroom cannot work with.

    The message names the key or file and says what to do about it. It is a :class:`ValueError`,
    not an :class:`ImportError`, because MMEngine's registries swallow the latter.
    """


def did_you_mean(word: object, possible: Iterable[str]) -> str:
    """The nearest of the possible words, to be put behind a wrong one; nothing if none is near.

    Example:
        >>> did_you_mean('taumax', ['tau_max', 'weight'])
        " (did you mean 'tau_max'?)"
    """
    if not isinstance(word, str):
        return ''
    words = {name.lower(): name for name in possible}
    near = difflib.get_close_matches(word.lower(), words, n=1)
    return f' (did you mean {words[near[0]]!r}?)' if near else ''


def reason(error: BaseException) -> str:
    """Type and message of an error of somebody else's code, on one line of moderate length.

    Example:
        >>> reason(KeyError('ResNt is not in the registry'))
        'KeyError: ResNt is not in the registry'
    """
    # The text of a KeyError is the repr of its argument.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = textwrap.shorten(str(text), 600, placeholder=' ...')
    return ': '.join(filter(None, [type(error).__name__, text]))


def each(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Call a function with each item; what is wrong with any of them is one error.

    Args:
        function: May raise a :class:`ClassroomError`.
        items: All of them are tried.

    Returns:
        The results.

    Raises:
        ClassroomError: That of the one item that is wrong, or all of them in one message.
    """
    results, errors = [], []
    for item in items:
        try:
            results.append(function(item))
        except ClassroomError as error:
            errors.append(error)
    if len(errors) > 1:
        parts = [f'{number}. {error}' for number, error in enumerate(errors, 1)]
        raise ClassroomError('\n\n'.join([f'{len(errors)} things are wrong:', *parts]))
    if errors:
        raise errors[0]
    return results
