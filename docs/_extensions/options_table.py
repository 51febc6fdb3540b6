"""The directive ``options-table``: every option of a classroom's config with its default.

Types, options and defaults are those of the registries and signatures; the meaning is that of the
docstrings. An option without a description is an error, so the table cannot fall behind the code.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from source_tables import SourceTable, arguments, literal, rst_table, summary
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from mmkd_classroom.cache import MentorCache
from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.divergences import Divergence
from mmkd_classroom.heads import HeadAdapter
from mmkd_classroom.hooks.mentor_check import MentorCheck
from mmkd_classroom.mentors import entry
from mmkd_classroom.rankers import Ranker
from mmkd_classroom.registry import HOOKS, MODELS, TASK_UTILS
from mmkd_classroom.strategies import Strategy

Row = tuple[str, str, str, str]

# A mentor's entry is no signature: its keys are checked against the code, the words are here.
_ENTRY = {
    'config': ('required', "``'package::path'``, the path of a file, or a dict with ``model``."),
    'checkpoint': (
        'required',
        "``'zoo'``, a path, a URL, or ``None`` for random weights. An entry that is only a string "
        "``'package::path'`` has ``'zoo'``.",
    ),
    'name': ('from the config', 'Name in tables and logs.'),
    'input_size': (
        'found out',
        "Width and height in pixels, for a classifier. A pose estimator's is that of its codec. "
        'Default: the one of its test pipeline, else ``img_size`` of its backbone, else the '
        "student's.",
    ),
    'flip_channels': (
        'found out',
        "Whether to reverse the channels of the student's batch. Default: whether only one of the "
        'two data preprocessors reverses them.',
    ),
    'precision': ("the student's", "``'fp32'``, ``'fp16'`` or ``'bf16'``, for this mentor only."),
    'channels_last': ('False', 'Whether the mentor runs in this memory format.'),
    'compile': ('False', 'Whether ``torch.compile`` speeds the mentor up.'),
    'keypoint_map': (
        'by name',
        "For poses: the student's joint (name or index) for each joint of the mentor whose name "
        'differs.',
    ),
    'metainfo': (
        "that of the config's data set",
        "For poses: definition of the mentor's joints, or the name of one of MMPose's data sets.",
    ),
    'class_map': (
        'the same classes',
        "For classes: the mentor's class for each class of the student, as a list, a dict, or the "
        'path of a JSON or YAML file.',
    ),
}


class OptionsTable(SourceTable):
    """Insert the table."""

    def text(self) -> str:
        """Return the table."""
        rows = [row for rows in _parts() for row in rows]
        return rst_table(['key', 'type', 'default', 'meaning'], rows, [28, 20, 14, 60])


def _parts() -> Iterator[Iterator[Row]]:
    yield _options('model', MultiMentorDistiller)
    yield _mentors()
    for key, base, registry in (
        ('model.strategy', Strategy, MODELS),
        ('model.ranker', Ranker, TASK_UTILS),
        ('model.divergence', Divergence, TASK_UTILS),
        ('model.adapter', HeadAdapter, TASK_UTILS),
    ):
        for kind in _registered(registry, base):
            yield _type(key, kind, without=('model', 'key', 'config'))
    yield _options('model.cache', MentorCache)
    for kind in _registered(HOOKS, object):
        yield _type('custom_hooks', kind)
    yield _options('MentoringHook.mentor_check', MentorCheck)
    for kind in _registered(MODELS, object):
        if '.backbones.' in kind.__module__:
            yield _type('model.student.backbone', kind)


def _registered(registry: Any, base: type) -> list[type]:
    registry.import_from_location()
    ours = [kind for kind in registry.module_dict.values() if inspect.isclass(kind)]
    ours = [kind for kind in ours if kind.__module__.startswith('mmkd_classroom.')]
    return sorted((k for k in ours if issubclass(k, base)), key=lambda kind: kind.__name__)


def _mentors() -> Iterator[Row]:
    known = {*entry._KINDS}
    for adapter in _registered(TASK_UTILS, HeadAdapter):
        known |= adapter.mentor_options
    if known != set(_ENTRY):
        raise ExtensionError(f'options-table describes the wrong keys: {known ^ set(_ENTRY)}')
    for name, (default, meaning) in _ENTRY.items():
        yield literal(f'model.mentors[i].{name}'), '', default, meaning


def _type(key: str, kind: type, without: tuple[str, ...] = ()) -> Iterator[Row]:
    """One row for a type, and one for each of its options."""
    yield literal(key), f'**{kind.__name__}**', '', summary(kind)
    yield from _options(key, kind, without, kind.__name__)


def _options(
    key: str, builder: Callable, without: tuple[str, ...] = (), of: str = ''
) -> Iterator[Row]:
    for name, parameter in inspect.signature(builder).parameters.items():
        anything = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in without and not anything:
            default = parameter.default
            text = 'required' if default is parameter.empty else literal(repr(default))
            yield literal(f'{key}.{name}'), of, text, _meaning(builder, name)


def _meaning(builder: Callable, name: str) -> str:
    """Return the description that is nearest, if it is no reference to that of a base class."""
    classes = builder.__mro__ if inspect.isclass(builder) else (builder,)
    found = [arguments(kind).get(name, '') for kind in classes if kind.__doc__]
    found = [text for text in found if text and not text.startswith('See :class:')]
    if not found:
        raise ExtensionError(f'{builder.__name__}.{name} has no description in a docstring')
    return found[0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('options-table', OptionsTable)
    return {'parallel_read_safe': True}
