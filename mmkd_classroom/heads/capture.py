"""Capture the output of a stock head inside its own loss, and get that loss per sample."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from .base import StockLoss


def captured_loss(
    head: nn.Module,
    stock_loss: StockLoss,
    inputs: Tensor,
    data_samples: Sequence[Any],
    per_sample: Callable[[Callable], Callable] | None = None,
) -> tuple[Any, dict[str, Tensor]]:
    """Run a stock loss once and capture the output of the head.

    Args:
        head: The head to capture.
        stock_loss: Stock ``loss`` method, which calls the head's ``forward``.
        inputs: ``(N, 3, H, W)``.
        data_samples: N samples.
        per_sample: Wraps the head's loss function so that it returns ``(N,)``; None for no change.

    Returns:
        What the head's ``forward`` returns without labels, and the losses.
    """
    outputs: list = []

    def keep(forward: Callable) -> Callable:
        def forward_and_keep(features: Any, *labels: Any, **options: Any) -> Any:
            output = forward(features, *labels, **options)
            # With labels, ArcFace's head makes the logit of the true class smaller.
            outputs.append(forward(features) if labels or options else output)
            return output

        return forward_and_keep

    with ExitStack() as stack:
        stack.enter_context(wrapped(head, 'forward', keep))
        if per_sample is not None:
            modules = head.loss_module  # a ModuleList if each stage has its own
            for module in modules if isinstance(modules, nn.ModuleList) else [modules]:
                stack.enter_context(wrapped(module, 'forward', per_sample))
        losses = stock_loss(inputs, data_samples)
    return outputs[-1], losses


@contextmanager
def wrapped(module: nn.Module, name: str, wrap: Callable[[Callable], Callable]) -> Iterator[None]:
    """Wrap a method of one instance within a block.

    Forward hooks do not work here, because stock heads call ``self.forward`` directly.

    Args:
        module: The instance.
        name: Name of its method.
        wrap: Takes the method and returns its replacement.
    """
    before = vars(module).get(name)
    setattr(module, name, wrap(getattr(module, name)))
    try:
        yield
    finally:
        if before is None:
            delattr(module, name)
        else:
            setattr(module, name, before)
