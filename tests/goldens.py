"""Values of the methods' released code; ``data/README.md`` says what they are."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parent / 'data'
CASES = ['a', 'b']


def golden(case: str) -> dict[str, Tensor]:
    """Inputs and values of a case by name, in float64.

    Args:
        case: ``'a'`` (8 samples, 10 classes, 5 mentors) or ``'b'`` (32, 100, 3).
    """
    values = {}
    for name in ('classroom', 'baselines'):
        values.update(np.load(DATA / f'{name}_golden_{case}.npz'))
    return {name: torch.from_numpy(value) for name, value in values.items()}
