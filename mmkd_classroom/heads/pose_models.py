"""MMPose's top-down pose estimators, recognised without importing MMPose."""

from torch import nn


def is_top_down(model: nn.Module) -> bool:
    """Whether a model is MMPose's ``TopdownPoseEstimator``, checked without importing MMPose."""
    kinds = type(model).__mro__
    if not any(kind.__module__.startswith('mmpose.') for kind in kinds):
        return False
    return 'TopdownPoseEstimator' in (kind.__name__ for kind in kinds)


def pose_head(model: nn.Module) -> nn.Module:
    """Return the head that predicts joints: the one in ``VisPredictHead``, or the head itself."""
    return model.head.pose_head if predicts_visibility(model) else model.head


def predicts_visibility(model: nn.Module) -> bool:
    """Whether the head returns joints and their visibility (``VisPredictHead``)."""
    from mmpose.models.heads import VisPredictHead

    return isinstance(model.head, VisPredictHead)
