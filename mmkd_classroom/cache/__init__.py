"""Teach from a cache: mentors run once for each view of a sample."""

from .cache import MentorCache
from .fingerprint import fingerprint
from .pipelines import (
    ReplayedPipeline,
    check_replayable,
    check_sampler,
    check_wrappers,
    datasets_with_pipeline,
    replay,
)
from .views import Views

__all__ = [
    'MentorCache',
    'ReplayedPipeline',
    'Views',
    'check_replayable',
    'check_sampler',
    'check_wrappers',
    'datasets_with_pipeline',
    'fingerprint',
    'replay',
]
