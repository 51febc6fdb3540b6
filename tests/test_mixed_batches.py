"""Label smoothing, mixup and CutMix through the real Runner: what is shown, scored and learnt.

MMPretrain mixes in the student's data preprocessor, which the classroom takes over.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import runs
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.functional import cross_entropy

SMOOTH = """
model.update(
    backbone=dict(type='mmkd_classroom.CifarResNet', depth=8),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64, topk=(1,),
              loss=dict(type='LabelSmoothLoss', label_smooth_val=0.2, num_classes=3)))
"""
# The mentors' configs are the student's, so theirs ask for mixing too; nothing may come of it.
MIXED = SMOOTH + 'model.update(train_cfg=dict(augments=[{}]))\n'
MIXUP, CUTMIX = "dict(type='Mixup', alpha=1.0)", "dict(type='CutMix', alpha=1.0)"
EXTRAS = dict(
    smooth=SMOOTH,
    mixup=MIXED.format(MIXUP),
    cutmix=MIXED.format(CUTMIX),
    both=MIXED.format(f'{MIXUP}, {CUTMIX}'),
)


class Recorder(Hook):
    """Keeps what each lesson was made of."""

    def before_train(self, runner: Runner) -> None:
        self.lessons: list[SimpleNamespace] = []
        distiller, task = runner.model, runner.model.task
        loss, scores = distiller.loss, task.scores

        def recorded_loss(inputs: Tensor, data_samples: list) -> dict:
            self.lessons.append(SimpleNamespace(inputs=inputs.clone(), samples=data_samples))
            self.lessons[-1].losses = loss(inputs, data_samples)
            return self.lessons[-1].losses

        def recorded_scores(members: list, truth: Any) -> Tensor:
            lesson = self.lessons[-1]
            lesson.logits = [member.values.detach().clone() for member in members]
            lesson.truth, lesson.scores = truth, scores(members, truth)
            return lesson.scores

        distiller.loss, task.scores = recorded_loss, recorded_scores


def train(name: str, folder: Path) -> tuple[Runner, list[SimpleNamespace]]:
    runner = Runner.from_cfg(runs.config('classes', folder, EXTRAS[name], epochs=4))
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert len(recorder.lessons) == 8
    return runner, recorder.lessons


@pytest.mark.parametrize('name', ['mixup', 'cutmix', 'both'])
def test_mixed_images_are_scored_against_their_soft_labels(
    name: str, tmp_path: Path, fresh_runners
) -> None:
    runner, lessons = train(name, tmp_path)
    assert (torch.cat([lesson.truth.labels for lesson in lessons]).amax(1) < 0.9).sum() >= 4
    mentors = list(runner.model.mentors)
    for lesson in lessons:
        labels = lesson.truth.labels
        assert labels.shape == (4, 3) and labels.is_floating_point()
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        assert torch.equal(labels, torch.stack([sample.gt_score for sample in lesson.samples]))
        for logits, scores in zip(lesson.logits, lesson.scores):
            expected = (-cross_entropy(logits, labels, reduction='none')).exp()
            torch.testing.assert_close(scores, expected[:, None])
        for mentor, logits in zip(mentors, lesson.logits[1:]):  # they saw the mixed images
            with torch.no_grad():
                torch.testing.assert_close(mentor.model(lesson.inputs), logits)
        # A class is a colour here, 120 brighter in one channel (loaded as BGR, shown as RGB) than
        # noise of 0 to 120; up to 4 of a crop's 32 lines are padding.
        brightness = (lesson.inputs * 60 + 127.5).mean(dim=(2, 3))
        torch.testing.assert_close(brightness, 60 + 120 * labels.flip(1), atol=25, rtol=0)
        assert lesson.losses['loss_mentors'].isfinite()


def test_smoothing_is_in_the_student_s_loss_and_not_in_the_scores(
    tmp_path: Path, fresh_runners
) -> None:
    for lesson in train('smooth', tmp_path)[1]:
        labels = lesson.truth.labels
        assert labels.shape == (4,) and not labels.is_floating_point()
        for logits, scores in zip(lesson.logits, lesson.scores):
            true = logits.softmax(1)[range(4), labels]
            torch.testing.assert_close(scores, true[:, None])
        smoothed = cross_entropy(lesson.logits[0], labels, label_smoothing=0.2)
        torch.testing.assert_close(lesson.losses['loss_student'].detach(), smoothed)


def test_nothing_is_mixed_in_validation(tmp_path: Path, fresh_runners) -> None:
    runner = Runner.from_cfg(runs.config('classes', tmp_path, EXTRAS['both'], epochs=1))
    batch = next(iter(runner.val_dataloader))
    data = runner.model.data_preprocessor(batch, False)
    plain = torch.stack([image.flip(0).float() for image in batch['inputs']])
    torch.testing.assert_close(data['inputs'], (plain - 127.5) / 60)
