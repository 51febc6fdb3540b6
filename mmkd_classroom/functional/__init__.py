"""Pure functions of tensors, independent of OpenMMLab."""

from .anomalies import count_anomalies
from .blurring import gaussian_blur
from .decoding import (
    cells_to_pixels,
    heatmap_peaks,
    refine_quarter,
    refine_taylor,
    towards_larger,
    vector_peaks,
)
from .distributions import log_gaussian, log_laplace
from .divergences import (
    correlation_distances,
    decoupled_divergence,
    kl_divergence,
    softened,
    standardised,
)
from .filtering import active_mentors, dtkd_temperatures, gap, ranks, temperature
from .finite import finite_samples
from .precision import at_least_float32, without_autocast
from .relations import (
    hint_distance,
    relation_angle_loss,
    relation_angles,
    relation_distance_loss,
    relation_distances,
    squared_distances,
)
from .resampling import gaussian_matrix, interpolation_matrix, triangle_matrix
from .scores import correct_keypoints, item_weights, keypoint_similarity, log_likelihood
from .weights import (
    advantage_weights,
    confidence_weights,
    entropy,
    entropy_weights,
    latent_weights,
    masked_softmax,
)

__all__ = [
    'active_mentors',
    'advantage_weights',
    'at_least_float32',
    'cells_to_pixels',
    'confidence_weights',
    'correct_keypoints',
    'correlation_distances',
    'count_anomalies',
    'decoupled_divergence',
    'dtkd_temperatures',
    'entropy',
    'entropy_weights',
    'finite_samples',
    'gap',
    'gaussian_blur',
    'gaussian_matrix',
    'heatmap_peaks',
    'hint_distance',
    'interpolation_matrix',
    'item_weights',
    'keypoint_similarity',
    'kl_divergence',
    'latent_weights',
    'log_gaussian',
    'log_laplace',
    'log_likelihood',
    'masked_softmax',
    'ranks',
    'refine_quarter',
    'refine_taylor',
    'relation_angle_loss',
    'relation_angles',
    'relation_distance_loss',
    'relation_distances',
    'softened',
    'squared_distances',
    'standardised',
    'temperature',
    'towards_larger',
    'triangle_matrix',
    'vector_peaks',
    'without_autocast',
]
