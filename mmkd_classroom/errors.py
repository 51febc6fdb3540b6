"""The one error a user meets when a config or an input does not fit."""


class ClassroomError(ValueError):
    """A config key, file or batch that a classroom cannot work with.

    The message names the key or file and says what to do about it. It is a :class:`ValueError`,
    not an :class:`ImportError`, because MMEngine's registries swallow the latter.
    """
