"""Feature maps of stock backbones by stage name, without changes to the models.

A stage is the (dotted) name of a child module of ``model.backbone``, such as ``layer3`` or
``stages.2``, or ``'output'`` for the output of the backbone. If a stage returns several maps, the
last one is used, as in stock heads. Tokens ``(N, L, C)`` of a transformer are reshaped to a map
with the aspect ratio of the input, without class tokens.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .dry_run import input_channels
from .errors import ClassroomError

OUTPUT = 'output'
# Tried in this order if the input size of a model is unknown: a small input is fast, but some
# networks need a larger one.
_DRY_SIZES = ((64, 64), (224, 224))


@contextmanager
def recorded(model: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record a model's feature maps while it runs.

    The forward hooks are removed at the end of the block, so copies and checkpoints have none.

    Args:
        model: Stock model with a backbone.
        stages: Names that :func:`stage_channels` accepts.

    Yields:
        A dict that the backbone's forward pass fills with maps ``(N, C, h, w)`` by stage, with
        gradient.
    """
    maps: dict[str, Tensor] = {}
    if not stages:
        yield maps
        return
    backbone = model.backbone
    sizes: list[tuple[int, int]] = []

    def note(_: nn.Module, args: tuple) -> None:
        sizes[:] = [tuple(args[0].shape[-2:])]

    def keep(stage: str) -> Any:
        def hook(_: nn.Module, __: tuple, output: Any) -> None:
            maps[stage] = _as_map(output, sizes[0], getattr(backbone, 'num_extra_tokens', 0))

        return hook

    with ExitStack() as stack:
        stack.enter_context(backbone.register_forward_pre_hook(note))
        for stage in stages:
            module = _stage(backbone, stage)
            stack.enter_context(module.register_forward_hook(keep(stage)))
        yield maps


def stage_channels(
    model: nn.Module, stages: Sequence[str], key: str, size: tuple[int, int] | None = None
) -> dict[str, int]:
    """Find the number of channels of each stage by one forward pass on zeros.

    Buffers, training mode and random state are the same afterwards.

    Args:
        model: Stock model.
        stages: Names of stages.
        key: Config key of the model, such as ``model.mentors[0]``, for messages.
        size: Width and height of its input. Default: :func:`expected_input_size`.

    Returns:
        C of each map ``(N, C, h, w)``, by stage.

    Raises:
        ClassroomError: A stage does not exist, does not run or returns no feature map.
    """
    if not stages:
        return {}
    if not isinstance(getattr(model, 'backbone', None), nn.Module):
        raise ClassroomError(
            f'{key} is a {type(model).__name__} without a backbone, so it has no stages to take '
            f'features from: choose another model, or a strategy without features.'
        )
    for stage in stages:
        if _stage(model.backbone, stage) is None:
            raise ClassroomError(f'{key}.backbone has no stage {stage!r}. {_choices(model)}')
    maps = _dry_run(model, stages, key, size or expected_input_size(model))
    for stage in stages:
        if stage not in maps:
            raise ClassroomError(
                f'{key}.backbone does not run its stage {stage!r}. {_choices(model)}'
            )
    return {stage: maps[stage].shape[1] for stage in stages}


def expected_input_size(model: nn.Module) -> tuple[int, int] | None:
    """Input width and height of a model, from its head's codec or its backbone; else None."""
    codec = getattr(getattr(model, 'head', None), 'decoder', None)
    if hasattr(codec, 'input_size'):
        width, height = codec.input_size
        return int(width), int(height)
    backbone = getattr(model, 'backbone', None)
    patches = getattr(backbone, 'patch_embed', None)
    size = getattr(backbone, 'img_size', None) or getattr(patches, 'init_input_size', None)
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(width), int(height)


def _stage(backbone: nn.Module, name: str) -> nn.Module | None:
    if name == OUTPUT:
        return backbone
    try:
        return backbone.get_submodule(name) if name else None
    except AttributeError:
        return None


def _choices(model: nn.Module) -> str:
    """A sentence with the valid stages: children of the backbone, and members of its lists."""
    names = [OUTPUT]
    for name, child in model.backbone.named_children():
        if isinstance(child, nn.ModuleList):
            names += [f'{name}.{index}' for index in range(len(child))]
        else:
            names.append(name)
    return f'The stages of {type(model.backbone).__name__} are {names}.'


def _dry_run(
    model: nn.Module, stages: Sequence[str], key: str, size: tuple[int, int] | None
) -> dict[str, Tensor]:
    """Feature maps of one image of zeros, of the given size or else of a few common sizes."""
    parameter = next(model.backbone.parameters())
    problem: Exception | None = None
    for width, height in [size] if size else _DRY_SIZES:
        try:
            with _eval_mode(model.backbone), recorded(model, stages) as maps:
                model.backbone(parameter.new_zeros(1, input_channels(model), height, width))
            return maps
        except ClassroomError as error:
            raise ClassroomError(f'{key}.backbone: {error} {_choices(model)}') from None
        except Exception as error:  # backbones raise various errors if the input is too small
            problem = error
    raise ClassroomError(
        f'{key}.backbone could not be run on an image of zeros, which finds out the channels of '
        f'{list(stages)} ({type(problem).__name__}: {problem}).'
    ) from problem


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; restore the mode and the random state afterwards."""
    training = {child: child.training for child in module.modules()}
    try:
        for child in training:
            child.training = False  # stock backbones override `train()`, which would do more
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for child, mode in training.items():
            child.training = mode


def _as_map(output: Any, size: tuple[int, int], extra_tokens: int) -> Tensor:
    """Convert the output of a stage to a feature map ``(N, C, h, w)``."""
    if isinstance(output, (list, tuple)):
        tensors = [item for item in output if isinstance(item, Tensor)]
        output = tensors[-1] if tensors else output
    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    if isinstance(output, Tensor) and output.ndim == 3:
        for skipped in dict.fromkeys([extra_tokens, 0]):
            length = output.shape[1] - skipped
            height = round(math.sqrt(length * size[0] / size[1]))
            if height and length % height == 0 and height * size[1] == length // height * size[0]:
                tokens = output[:, skipped:].transpose(1, 2)
                return tokens.unflatten(2, (height, length // height))
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ClassroomError(
        f'a stage gives {shape}, which is neither a feature map (N, C, h, w) nor one token for '
        'each cell of a grid.'
    )
