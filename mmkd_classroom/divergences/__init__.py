"""Divergences between a student and a mentor. One divergence per file."""

from .base import Divergence
from .dist import DIST
from .dkd import DKD
from .kl import KLDivergence
from .mse import MSE
from .standardised import StandardisedKL

__all__ = ['DIST', 'DKD', 'Divergence', 'KLDivergence', 'MSE', 'StandardisedKL']
