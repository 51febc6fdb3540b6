"""The mathematics: pure functions of tensors that know nothing of OpenMMLab."""

from .decoding import heatmap_peaks, refine_quarter, refine_taylor, vector_peaks
from .divergences import kl_divergence, soft_target_divergence
from .filtering import active_mentors, dtkd_temperatures, gap, ranks, temperature
from .resampling import gaussian_matrix, interpolation_matrix, triangle_matrix
from .scores import (
    at_least_float32,
    correct_keypoints,
    item_weights,
    keypoint_similarity,
    log_likelihood,
    oks,
    pck,
    true_class_probability,
)

__all__ = [
    'active_mentors',
    'at_least_float32',
    'correct_keypoints',
    'dtkd_temperatures',
    'gap',
    'gaussian_matrix',
    'heatmap_peaks',
    'interpolation_matrix',
    'item_weights',
    'keypoint_similarity',
    'kl_divergence',
    'log_likelihood',
    'oks',
    'pck',
    'ranks',
    'refine_quarter',
    'refine_taylor',
    'soft_target_divergence',
    'temperature',
    'triangle_matrix',
    'true_class_probability',
    'vector_peaks',
]
