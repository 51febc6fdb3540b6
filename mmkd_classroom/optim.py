"""Mixed precision where there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """What ``--amp`` means on a CPU: the forward pass under bfloat16 autocast.

    MMEngine's ``AmpOptimWrapper`` does the same on accelerators but refuses to be built on a CPU.
    bfloat16 has float32's range, so losses are not scaled. Registered in MMEngine's own registry,
    as it is no part of a classroom.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a forward pass."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
