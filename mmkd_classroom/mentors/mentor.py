"""One frozen mentor: a stock model with its weights, in its own view of the data."""

import copy
import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..checkpoints import load_weights
from ..errors import ClassroomError, reason
from ..features import finite_features, recorded, stage_channels
from ..functional import without_autocast
from ..structures import Prediction
from ..tasks import Reader, Task
from .entry import PRECISIONS, Entry
from .view import Normalisation, View, fit


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
        self.dtype = None if precision is None else PRECISIONS[precision]
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


def build_mentor(entry: Entry, student: nn.Module, task: Task) -> Mentor:
    """Build the mentor of an entry, as yet without its weights.

    Args:
        entry: See :func:`read_entry`.
        student: Stock model.
        task: Checks that the mentor can teach the student.

    Returns:
        The mentor; see :func:`load_mentor`.

    Raises:
        ClassroomError: The mentor's config does not build, or it cannot teach the student.
    """
    cfg, key, config = entry.options, entry.key, entry.config
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


def load_mentor(mentor: Mentor, entry: Entry) -> None:
    """Give a mentor the weights that its entry names.

    Raises:
        ClassroomError: They cannot be fetched or read, or do not fit.
    """
    if entry.checkpoint is None:
        message = f'{entry.key} has random weights (checkpoint=None).'
        print_log(message, 'current', logging.WARNING)
    else:
        load_weights(mentor.model, entry.checkpoint, key=f'{entry.key}.checkpoint')


def _build_model(config: Config, key: str) -> nn.Module:
    """The stock model; of a classroom's config, the student."""
    try:
        model = ConfigDict(copy.deepcopy(config.model))
        preprocessors = [model.get('data_preprocessor'), config.get('data_preprocessor')]
        model = model.get('student', model)
        for preprocessor in filter(None, preprocessors):
            model.setdefault('data_preprocessor', preprocessor)
        with DefaultScope.overwrite_default_scope(config.get('default_scope')):
            return MODELS.build(model)
    except ClassroomError:
        raise
    except Exception as error:  # stock code raises a different type for each way to be wrong
        raise ClassroomError(
            f'{key}.config: its model cannot be built ({reason(error)}). Correct that config, or '
            'name another. It must build by itself in the stock tools.'
        ) from error


def _default_name(config: str | dict, model: nn.Module) -> str:
    if isinstance(config, str):
        return Path(config.split('::')[-1]).stem
    return type(getattr(model, 'backbone', model)).__name__
