"""The error for configs and inputs that do not fit, and helpers for its messages."""

import difflib
import reprlib
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')
_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxother = 200


class ClassroomError(ValueError):
    """Raised for a config key, file or batch that a classroom cannot use.

    The message names the key or file and how to correct it. This is a :class:`ValueError`, not an
    :class:`ImportError`, because MMEngine's registries suppress the latter.
    """


def did_you_mean(word: object, possible: Iterable[str]) -> str:
    """A suggestion with the closest of the possible words, or an empty string if none is close.

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
    """Type and message of an error raised by other code, on one line of at most 600 characters.

    Example:
        >>> reason(KeyError('ResNt is not in the registry'))
        'KeyError: ResNt is not in the registry'
    """
    # The text of a KeyError is the repr of its argument.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = textwrap.shorten(str(text), 600, placeholder=' ...')
    return ': '.join(filter(None, [type(error).__name__, text]))


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names for a message; some data sets have 98 or 294 joints.

    Example:
        >>> listed(['nose', 'neck', 'head'], limit=2)
        'nose, neck and 1 more'
    """
    more = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {more} more' if more > 0 else '')


def shown(value: Any) -> str:
    """``repr`` of a value that came from a file, cut where it is long or deep.

    A few lines of YAML can refer to each other so that the whole ``repr`` has billions of letters.

    Example:
        >>> shown([[[[[1]]]], *range(100)])
        '[[[[...]]], 0, 1, 2, 3, 4, ...]'
    """
    return _REPR.repr(value)


def each(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Call a function with each item and raise all errors as one.

    Args:
        function: May raise a :class:`ClassroomError`.
        items: The function is called with all of them, also after an error.

    Returns:
        The results.

    Raises:
        ClassroomError: The error of one item, or those of several in one message.
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
