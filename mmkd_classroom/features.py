"""Feature maps of stock backbones by stage name, without touching the models.

A stage is a child module of ``model.backbone`` by its (dotted) name, such as ``layer3`` or
``stages.2``, or ``'output'``, what the backbone returns. A stage that returns several maps gives
its last, as stock heads take it. Tokens ``(N, L, C)`` of a transformer become a map on the grid
that has the input's shape, without its class tokens.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ClassroomError

OUTPUT = 'output'
# Where a model does not say which input it is made for. Small is quick; some nets need more.
_DRY_SIZES = ((64, 64), (224, 224))


@contextmanager
def recorded(model: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record a model's feature maps while it runs.

    Hooks last only as long as the block: a copy or a checkpoint of the model has none.

    Args:
        model: Stock model with a backbone.
        stages: Names that passed :func:`stage_channels`.

    Yields:
        A dict that fills, when the backbone runs, with maps ``(N, C, h, w)`` by stage, with their
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
    """Number of channels of each stage, found by one forward pass on zeros.

    The model is as it was afterwards: buffers, training mode and random numbers.

    Args:
        model: Stock model.
        stages: Names of stages.
        key: The model's config key, such as ``model.mentors[0]``, for messages.
        size: Width and height of its input, where they are known better than it says itself.

    Returns:
        C of each ``(N, C, h, w)``.

    Raises:
        ClassroomError: A stage does not exist, does not run or gives no feature map.
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
    maps = _dry_run(model, stages, key, size or made_for(model))
    for stage in stages:
        if stage not in maps:
            raise ClassroomError(
                f'{key}.backbone does not run its stage {stage!r}. {_choices(model)}'
            )
    return {stage: maps[stage].shape[1] for stage in stages}


def made_for(model: nn.Module) -> tuple[int, int] | None:
    """Width and height that a model says it is made for, by its head's codec or its backbone."""
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
    """What to write instead: the backbone's children, and the members of its lists."""
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
    """The maps of one image of zeros, of a given width and height or of some that suit most."""
    parameter = next(model.backbone.parameters())
    problem: Exception | None = None
    for width, height in [size] if size else _DRY_SIZES:
        try:
            with _at_rest(model.backbone), recorded(model, stages) as maps:
                model.backbone(parameter.new_zeros(1, 3, height, width))
            return maps
        except ClassroomError as error:
            raise ClassroomError(f'{key}.backbone: {error} {_choices(model)}') from None
        except Exception as error:  # whatever a backbone says to an input that is too small
            problem = error
    raise ClassroomError(
        f'{key}.backbone could not be run on an image of zeros, which finds out the channels of '
        f'{list(stages)} ({type(problem).__name__}: {problem}).'
    ) from problem


@contextmanager
def _at_rest(module: nn.Module) -> Iterator[None]:
    """A block that leaves no trace: no gradient, no buffer, no random number, no mode."""
    training = {child: child.training for child in module.modules()}
    try:
        for child in training:
            child.training = False  # `train()` and `eval()` of stock backbones do more than this
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for child, mode in training.items():
            child.training = mode


def _as_map(output: Any, size: tuple[int, int], extra_tokens: int) -> Tensor:
    """What a stage returned, as a feature map ``(N, C, h, w)``."""
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
