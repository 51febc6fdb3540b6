"""Add the joints in input space to training samples. Scoring needs them."""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS


@HOOKS.register_module()
class InputJointsHook(Hook):
    """Sets ``pack_transformed=True`` in the training pipelines.

    The classroom registers it. It runs in each epoch, because other hooks may replace the pipeline,
    as RTMPose's configs do for the last epochs.
    """

    priority = 'LOWEST'  # after the hooks that switch pipelines

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the option. With epoch-based training, loading workers start after this."""
        pack_input_joints(runner.train_dataloader.dataset)


def pack_input_joints(dataset: Any) -> None:
    """Make every ``PackPoseInputs`` of a data set pack ``transformed_keypoints``.

    Args:
        dataset: Data set of MMEngine's, or a wrapper of data sets.
    """
    for transform in _parts(dataset):
        if getattr(transform, 'pack_transformed', None) is False:
            transform.pack_transformed = True


def _parts(whole: Any) -> Iterator[Any]:
    """Wrapped data sets, their transforms, and nested transforms, recursively."""
    for name in ('dataset', 'datasets', 'pipeline', 'transforms'):
        inner = getattr(whole, '__dict__', {}).get(name)
        for part in inner if isinstance(inner, (list, tuple)) else [inner]:
            if part is not None:
                yield part
                yield from _parts(part)
