"""One frozen mentor: a stock model with its weights, in its own view of the data."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..checkpoints import load_weights
from ..errors import ClassroomError
from ..features import finite_features, recorded, stage_channels
from ..functional import without_autocast
from ..structures import Prediction
from ..tasks import Reader, Task
from .view import Normalisation, View, fit

_KEYS = {
    'config', 'checkpoint', 'name', 'input_size', 'flip_channels', 'precision', 'channels_last',
}  # fmt: skip
_PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
_FORM = (
    "a mentor is dict(config=..., checkpoint='zoo' | path | URL), and optionally name, input_size, "
    'flip_channels, precision, channels_last'
)


class Mentor:
    """A stock model that teaches and never learns.

    It is no :class:`torch.nn.Module`, so whoever holds it holds no parameters of it.

    Args:
        name: Shown in logs and tables.
        model: Stock model; it is put in evaluation mode and stays there.
        view: From the student's batch to the mentor's.
        reader: From the mentor's output to the student's form.
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``: the mentor's own, whatever the student
            trains in; None follows the student's automatic mixed precision.
        channels_last: Whether it runs in that memory format.
        size_key: The config key that says its input size, where that is open, for messages.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        view: View,
        reader: Reader,
        precision: str | None = None,
        channels_last: bool = False,
        size_key: str | None = None,
    ) -> None:
        self.name = name
        self.size_key = size_key
        self.model = model.eval().requires_grad_(False)
        self.view = view
        self.reader = reader
        self.stages: list[str] = []
        self.dtype = None if precision is None else _PRECISIONS[precision]
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        self.model.to(dtype=self.dtype, memory_format=self.memory_format)

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """What ``nn.Module._apply`` does to a child, such as a move to another device."""
        self.model._apply(function)
        if self.dtype is not None:
            self.model.to(dtype=self.dtype)
        self.view.apply(function)
        self.reader.apply(function)

    def watch(self, stages: list[str], key: str) -> dict[str, int]:
        """Have each prediction carry feature maps.

        Args:
            stages: Stages of the backbone; see :mod:`mmkd_classroom.features`.
            key: The mentor's config key, for messages.

        Returns:
            Their channels.
        """
        if self.dtype is not None:
            # Models are built on a CPU, where some torch has no convolution in half precision.
            self.model.float()
        channels = stage_channels(self.model, stages, key, self.view.size)
        self.model.to(dtype=self.dtype)
        self.stages = stages
        return channels

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Prediction:
        """The mentor's prediction on the student's batch ``(N, 3, H, W)``, in its form."""
        view = self.view(inputs).to(dtype=self.dtype, memory_format=self.memory_format)
        follows = self.dtype is None
        precision = nullcontext() if follows else without_autocast(view)
        with precision, recorded(self.model, self.stages) as features:
            output = self._run(view)
        prediction = self.reader(output)
        if features:
            features = {name: self.view.content(maps, inputs) for name, maps in features.items()}
            prediction.features, finite = finite_features(features)
            prediction.valid = prediction.valid & finite
        return prediction

    def _run(self, inputs: Tensor) -> Any:
        """What the stock model returns; many networks take images of one size only."""
        try:
            return self.model(inputs, None, mode='tensor')
        except Exception as error:  # whatever a network says to an input that it is not made for
            clear = isinstance(error, (torch.cuda.OutOfMemoryError, ClassroomError))
            if clear or self.size_key is None:
                raise
            raise ClassroomError(
                f'{self.size_key}: {self.name} cannot take a batch {tuple(inputs.shape)} '
                f'({type(error).__name__}: {error}). Give the (width, height) that it was made for.'
            ) from error


def build_mentor(cfg: dict[str, Any], key: str, student: nn.Module, task: Task) -> Mentor:
    """Build one entry of ``model.mentors``.

    Args:
        cfg: ``config`` (a path, ``'package::path'`` or a dict with ``model``), ``checkpoint``
            (``'zoo'``, a path, a URL, or None for random weights) and, optionally, ``name``,
            ``input_size`` (a classifier's width and height, by default those that its config
            tests it with or its backbone is made for, else the student's; a pose estimator's is
            its codec's), ``flip_channels`` (see :class:`View`), ``precision`` and
            ``channels_last`` (see :class:`Mentor`), and what the task takes
            (:attr:`Task.mentor_options`): ``keypoint_map`` and ``metainfo``, or ``class_map``.
        key: The entry's config key, such as ``model.mentors[0]``, for messages.
        student: Stock model.
        task: Checks that the mentor can teach the student.

    Returns:
        The mentor with its weights.

    Raises:
        ClassroomError: A key is missing or unknown, the config or the checkpoint cannot be
            found or does not fit, or the mentor does not fit the student.
    """
    _check_entry(cfg, key, task)
    config, weights_url = _load_config(cfg['config'], cfg['checkpoint'], key)
    model = _build_model(config, key)
    options = {name: cfg[name] for name in task.mentor_options if name in cfg}
    ours, theirs = task.input_size(student, 'model.student'), task.input_size(model, key)
    size = tuple(cfg.get('input_size') or theirs or task.usual_size(model, config) or ()) or None
    if theirs is not None and size != theirs:
        raise ClassroomError(
            f'{key}.input_size is {size}, but its codec is made for {theirs}: leave it out.'
        )
    geometry = fit(ours, size)[1] if ours and size else None
    reader = task.reader(model, student, key, config, geometry, **options)
    checkpoint = weights_url if cfg['checkpoint'] == 'zoo' else cfg['checkpoint']
    if checkpoint is None:
        print_log(f'{key} has random weights (checkpoint=None).', 'current', level=30)
    else:
        load_weights(model, checkpoint, key=f'{key}.checkpoint')
    view = View(
        Normalisation.of(student.data_preprocessor),
        Normalisation.of(model.data_preprocessor),
        size,
        cfg.get('flip_channels'),
    )
    name = cfg.get('name') or _default_name(cfg['config'], model)
    return Mentor(
        name,
        model,
        view,
        reader,
        cfg.get('precision'),
        cfg.get('channels_last', False),
        f'{key}.input_size' if theirs is None else None,
    )


def _check_entry(cfg: Any, key: str, task: Task) -> None:
    """Raise where an entry is not well formed."""
    form = ', '.join([_FORM, *sorted(task.mentor_options)]) + '.'
    if not isinstance(cfg, dict):
        raise ClassroomError(f'{key} is {cfg!r}: {form}')
    missing = [name for name in ('config', 'checkpoint') if name not in cfg]
    unknown = sorted(set(cfg) - _KEYS - task.mentor_options)
    if missing or unknown:
        raise ClassroomError(
            f'{key} lacks {missing or "nothing"} and has the unknown keys {unknown}: {form}'
        )
    precision, size = cfg.get('precision'), cfg.get('input_size')
    if precision is not None and precision not in _PRECISIONS:
        raise ClassroomError(
            f'{key}.precision is {precision!r}: choose one of {", ".join(_PRECISIONS)}.'
        )
    if size is not None and not (np.shape(size) == (2,) and min(size) > 0):
        raise ClassroomError(f'{key}.input_size is {size!r}: give (width, height) in pixels.')


def _load_config(config: str | dict, checkpoint: str | None, key: str) -> tuple[Config, str | None]:
    """The mentor's config and, for ``checkpoint='zoo'``, the URL of its weights."""
    if isinstance(config, dict):
        if checkpoint == 'zoo':
            raise ClassroomError(
                f"{key}.checkpoint is 'zoo', but {key}.config is a dict, which no zoo lists: "
                'name a file or URL.'
            )
        return Config(copy.deepcopy(dict(config))), None
    try:
        if '::' in config:
            loaded = get_config(config, pretrained=checkpoint == 'zoo')
            return loaded, loaded.get('model_path')
        loaded = Config.fromfile(config)
    except Exception as error:  # mmengine raises a different type for each way to be wrong
        raise ClassroomError(
            f'{key}.config = {config!r} could not be loaded ({type(error).__name__}: {error}). '
            "Write a path, or 'mmpose::...' / 'mmpretrain::...' with a config of the installed "
            "package; checkpoint='zoo' needs one that its model zoo lists."
        ) from error
    if checkpoint == 'zoo':
        raise ClassroomError(
            f"{key}.checkpoint is 'zoo', but {key}.config = {config!r} is a file: only configs "
            "written 'package::path' are in a zoo. Name the checkpoint's path or URL."
        )
    return loaded, None


def _build_model(config: Config, key: str) -> nn.Module:
    """The stock model; of a classroom's config, the student."""
    if 'model' not in config:
        raise ClassroomError(f'{key}.config has no `model`: it is not the config of a model.')
    model = ConfigDict(copy.deepcopy(config.model))
    model = model.get('student', model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    scope = config.get('default_scope')
    if scope is None:
        return MODELS.build(model)
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)


def _default_name(config: str | dict, model: nn.Module) -> str:
    if isinstance(config, str):
        return Path(config.split('::')[-1]).stem
    return type(getattr(model, 'backbone', model)).__name__
