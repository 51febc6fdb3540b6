"""Squared distance between heatmaps, and the heads that have none."""

import pytest
import torch
from toys import HEATMAP_SIZE, JOINTS, build, classifier, estimator

from mmkd_classroom.divergences import MSE
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter


def test_it_is_the_mean_over_the_cells_of_each_joint():
    adapter = build_adapter(build(estimator()))
    student, mentor = torch.rand(2, 3, JOINTS, *HEATMAP_SIZE[::-1])
    predictions = [adapter.student_prediction(maps) for maps in (student, mentor)]
    value = MSE()(*predictions, None, temperature=5.0)
    torch.testing.assert_close(value, ((student - mentor) ** 2).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    'student, found',
    [
        (classifier(), 'compares keypoints, but the student predicts classes'),
        (estimator(codec_name='simcc'), 'compares heatmaps, but the student predicts SimCC'),
    ],
)
def test_a_student_without_heatmaps_is_refused(student, found):
    MSE().check(build_adapter(build(estimator())))
    message = rf"^model\.divergence is MSE, which {found}.*use 'mmkd_classroom\.KLDivergence'"
    with pytest.raises(ClassroomError, match=message):
        MSE().check(build_adapter(build(student)))
