"""Joints in input space, which scoring needs and MMPose packs on request only."""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class InputJointsHook(Hook):
    """Has the pipelines that training uses pack the joints in input space.

    Registered by the classroom itself. It looks again at each epoch, for other hooks may put
    another pipeline in place, as RTMPose's configs do for the last epochs.
    """

    priority = 'LOWEST'  # after the hooks that switch pipelines

    def before_train_epoch(self, runner: Runner) -> None:
        """In training by epochs, the epoch's loading workers start after this."""
        pack_input_joints(runner.train_dataloader.dataset)


def pack_input_joints(dataset: Any) -> None:
    """Have every ``PackPoseInputs`` of a data set pack ``transformed_keypoints``.

    Args:
        dataset: A data set of MMEngine's, or a wrapper of some.
    """
    for transform in _parts(dataset):
        if getattr(transform, 'pack_transformed', None) is False:
            transform.pack_transformed = True


def _parts(whole: Any) -> Iterator[Any]:
    """The data sets that a data set wraps, their transforms, and the transforms within these."""
    for name in ('dataset', 'datasets', 'pipeline', 'transforms'):
        inner = getattr(whole, '__dict__', {}).get(name)
        for part in inner if isinstance(inner, (list, tuple)) else [inner]:
            if part is not None:
                yield part
                yield from _parts(part)
