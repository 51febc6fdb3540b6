"""One frozen mentor: a stock model with its weights, and its input and output adapters."""

import hashlib
import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from ..checkpoints import load_weights
from ..errors import ClassroomError, reason
from ..features import recorded, stage_channels
from ..functional import finite_samples, without_autocast
from ..heads import HeadAdapter, OutputAdapter, mentor_adapter
from ..hub import model_config, student_model
from ..structures import MentorOutput, Prediction
from .entry import PRECISIONS, Entry
from .input_adapter import InputAdapter, Normalisation, letterbox


class Mentor:
    """A frozen stock model with adapters for its input and output.

    It is not a :class:`torch.nn.Module`, so its parameters are not those of a module that holds it.

    Args:
        name: Name in logs and tables.
        model: Stock model; it is put in evaluation mode and stays in it.
        input_adapter: Converts the student's batch to the mentor's.
        output_adapter: Converts the mentor's output to a prediction in the student's format.
        stages: Stages of the backbone whose feature maps are added to predictions; see
            :mod:`mmkd_classroom.features`.
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``, independent of the student's; None for the
            student's automatic mixed precision.
        channels_last: Whether it runs in this memory format.
        size_key: Config key of its input size, for messages; None if the size is fixed.
        description: Digest of its config.
        compile: Whether ``torch.compile`` speeds it up.
        on_demand: The model is moved to a device when it runs there for the first time.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        input_adapter: InputAdapter,
        output_adapter: OutputAdapter,
        *,
        stages: Sequence[str] = (),
        precision: str | None = None,
        channels_last: bool = False,
        size_key: str | None = None,
        description: str = '',
        compile: bool = False,
        on_demand: bool = False,
    ) -> None:
        self.name = name
        self.description = description
        self.model = model.eval().requires_grad_(False)
        self.input_adapter = input_adapter
        self.output_adapter = output_adapter
        self.stages = list(stages)
        self.size_key = size_key
        self.dtype = None if precision is None else PRECISIONS[precision]
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        self.model.to(dtype=self.dtype, memory_format=self.memory_format)
        self.on_demand = on_demand
        self.compile = compile
        self._call = torch.compile(self.model) if compile else self.model

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Apply a function, such as a move to another device, as ``nn.Module._apply`` does."""
        self.output_adapter.apply(function)
        if self.on_demand:  # in another precision, but where it is
            self._apply_to_model(lambda tensor: tensor.to(function(tensor.new_empty(0)).dtype))
        else:
            self._apply_to_model(function)

    def _apply_to_model(self, function: Callable[[Tensor], Tensor]) -> None:
        self.model._apply(function)
        if self.dtype is not None:
            self.model.to(dtype=self.dtype)
        self.input_adapter.apply(function)

    def _fetch(self, device: torch.device) -> None:
        """Move the model to a device, and leave it there."""
        if self.on_demand and self.input_adapter.device != device:
            self._apply_to_model(lambda tensor: tensor.to(device))

    def settings(self) -> dict[str, Any]:
        """Values for JSON that determine its outputs: weights, precision, input and output."""
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
        return dict(
            model=self.description,
            weights=digest.hexdigest(),
            precision=str(self.dtype),
            memory_format=str(self.memory_format),
            compile=self.compile,
            input=self.input_adapter.settings(),
            output=self.output_adapter.settings(),
        )

    @torch.no_grad()
    def output(self, inputs: Tensor) -> MentorOutput:
        """Run the mentor on the student's batch, without features.

        Args:
            inputs: ``(N, 3, H, W)``, as the student gets it.

        Returns:
            Its output in the format of its own head, in its own precision, with joints in pixels of
            its own input.

        Raises:
            ClassroomError: The network does not accept this input size, or its output does not fit
                its codec.
        """
        self._fetch(inputs.device)
        adapted = self.input_adapter(inputs).to(dtype=self.dtype, memory_format=self.memory_format)
        precision = nullcontext() if self.dtype is None else without_autocast(adapted)
        with precision:
            output = self._run(adapted)
        return self.output_adapter.read(output)

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Prediction:
        """Run the mentor on the student's batch.

        Args:
            inputs: ``(N, 3, H, W)``, as the student gets it.

        Returns:
            Its prediction in the format of the student's head, with joints in pixels of the
            student's input, and with feature maps if ``stages`` were given.

        Raises:
            ClassroomError: See :meth:`output`.
        """
        with recorded(self.model, self.stages) as maps:
            prediction = self.output_adapter.predict(self.output(inputs))
        if not maps:
            return prediction
        content = [self.input_adapter.content(values, inputs) for values in maps.values()]
        content, finite = finite_samples(content)
        return replace(
            prediction,
            features=dict(zip(maps, content)),
            valid=prediction.valid & finite[:, None],
        )

    def _run(self, inputs: Tensor) -> Any:
        """Run the stock model. The error names the size, as many networks accept only one."""
        try:
            return self._call(inputs, None, mode='tensor')
        except Exception as error:  # networks raise various errors for a wrong input size
            clear = isinstance(error, (torch.cuda.OutOfMemoryError, ClassroomError))
            if clear or self.size_key is None:
                raise
            raise ClassroomError(
                f'{self.size_key}: {self.name} cannot take a batch {tuple(inputs.shape)} '
                f'({type(error).__name__}: {error}). Give the (width, height) that it was made for.'
            ) from error


def build_mentor(
    entry: Entry,
    name: str,
    stages: Sequence[str],
    student: nn.Module,
    adapter: HeadAdapter,
    on_demand: bool = False,
) -> tuple[Mentor, dict[str, int]]:
    """Build the mentor of an entry without loading its weights; see :func:`load_mentor`.

    Args:
        entry: See :func:`read_entry`.
        name: Name of the mentor.
        stages: Stages of its backbone that the strategy needs.
        student: Stock model.
        adapter: Adapter of the student.
        on_demand: See :class:`Mentor`.

    Returns:
        The mentor, and the number of channels of its stages.

    Raises:
        ClassroomError: The mentor's config does not build, or it cannot teach the student.
    """
    cfg, key, config = entry.options, entry.key, entry.config
    if entry.checkpoint is None:  # the same weights when the training is resumed, and in a report
        torch.default_generator.manual_seed(zlib.crc32(f'{name} {config.model!r}'.encode()))
    model = _build_model(config, key)
    options = {option: cfg[option] for option in adapter.mentor_options if option in cfg}
    metainfo = {'metainfo': options.pop('metainfo')} if 'metainfo' in options else {}
    theirs = mentor_adapter(model, adapter, key, config, **metainfo)
    made_for = theirs.input_size
    size = tuple(cfg.get('input_size') or made_for or theirs.usual_size or ()) or None
    if made_for is not None and size != made_for:
        raise ClassroomError(
            f'{key}.input_size is {size}, but its codec is made for {made_for}: leave it out.'
        )
    ours = adapter.input_size
    place = letterbox(ours, size)[1] if ours and size else None
    output_adapter = adapter.output_adapter(theirs, place, **options)
    input_adapter = InputAdapter(
        Normalisation.of(student.data_preprocessor),
        Normalisation.of(model.data_preprocessor),
        size,
        cfg.get('flip_channels'),
    )
    if stages and cfg.get('compile'):
        raise ClassroomError(
            f'{key}.compile is True, but the strategy reads the stages {", ".join(stages)} of this '
            'mentor, which a compiled model does not show: leave compile or the features out.'
        )
    channels = stage_channels(model, stages, key, size)
    mentor = Mentor(
        name,
        model,
        input_adapter,
        output_adapter,
        stages=stages,
        precision=cfg.get('precision'),
        channels_last=cfg.get('channels_last', False),
        size_key=f'{key}.input_size' if made_for is None else None,
        description=hashlib.sha256(repr(config.model).encode()).hexdigest(),
        compile=cfg.get('compile', False),
        on_demand=on_demand,
    )
    return mentor, channels


def load_mentor(mentor: Mentor, entry: Entry) -> None:
    """Load the weights of a mentor's entry.

    Raises:
        ClassroomError: They cannot be downloaded or read, or do not fit.
    """
    if entry.checkpoint is None:
        message = f'{entry.key} has random weights (checkpoint=None): it is for a dry run.'
        print_log(message, 'current', logging.WARNING)
    else:
        load_weights(mentor.model, entry.checkpoint, key=f'{entry.key}.checkpoint')


def _build_model(config: Config, key: str) -> nn.Module:
    """Build the stock model of a config, or the student if it is the config of a classroom."""
    try:
        model = model_config(config)
        if 'student' in model:
            model = student_model(model)
        with DefaultScope.overwrite_default_scope(config.get('default_scope')):
            return MODELS.build(model)
    except ClassroomError:
        raise
    except Exception as error:  # stock code raises various types
        raise ClassroomError(
            f'{key}.config: its model cannot be built ({reason(error)}). Correct that config, or '
            'name another. It must build by itself in the stock tools.'
        ) from error
