"""The task of a student, where its config names none."""

from torch import nn

from ..errors import ClassroomError
from .base import Task
from .classification import ClassificationTask
from .forms import HeatmapForm, form_of
from .heatmap import HeatmapTask
from .simcc import SimCCTask


def task_type(student: nn.Module) -> type[Task]:
    """The task of a student's kind of model and head.

    Raises:
        ClassroomError: No task takes such a student.
    """
    kinds = {kind.__module__.split('.')[0] for kind in type(student).__mro__}
    if 'mmpretrain' in kinds:
        return ClassificationTask
    if 'mmpose' in kinds:
        form = form_of(student, 'model.student')
        return HeatmapTask if isinstance(form, HeatmapForm) else SimCCTask
    raise ClassroomError(
        f"model.student is a {type(student).__name__}: a classroom takes MMPose's "
        "TopdownPoseEstimator or MMPretrain's ImageClassifier."
    )
