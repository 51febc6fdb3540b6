"""Mentors whose network is timm's, Hugging Face's or torchvision's, in MMPretrain's wrappers.

``TIMMBackbone`` is a backbone like any other. ``TimmClassifier`` and ``HuggingFaceClassifier`` are
classifiers without a head: ``model`` returns the logits, and knows how many they are.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from mmengine.registry import MODELS
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn
from toys import CLASSES, build, class_batch, classifier

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError


@MODELS.register_module()
class TorchvisionClassifier(BaseClassifier):
    """A network of torchvision's, wrapped as MMPretrain wraps timm's.

    Args:
        num_classes: How many it knows.
        tokens: Return so many outputs a sample, as a transformer's backbone does unpooled.
    """

    def __init__(self, num_classes: int, tokens: int = 0) -> None:
        super().__init__(data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))
        self.model = torchvision.models.resnet18(num_classes=num_classes)
        self.model.num_classes = num_classes
        self.tokens = tokens

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        assert mode == 'tensor'
        logits = self.model(inputs)
        return logits[:, None].repeat(1, self.tokens, 1) if self.tokens else logits


def classroom(mentor: dict, student: dict | None = None) -> nn.Module:
    return MultiMentorDistiller(
        student=build(student or classifier()),
        mentors=[dict(config=dict(model=mentor, default_scope='mmpretrain'), checkpoint=None)],
        strategy=dict(type='ClassroomKD', filter=False),
    )


def assert_teaches(mentor: dict) -> None:
    """What is taught is what the wrapper returns for the images in its own normalisation."""
    room = classroom(mentor)
    inputs, samples = class_batch(4)
    room.prepare(samples)
    (member,) = room.mentors
    with torch.no_grad():
        expected = member.model(member.input_adapter(inputs), mode='tensor')
    assert expected.shape == (4, CLASSES) and expected.std() > 0
    torch.testing.assert_close(member.predict(inputs).logits[0][:, 0], expected)
    assert room.loss(inputs, samples)['loss_mentors'] > 0


def backbone_of_timm(**head: Any) -> dict:
    return dict(
        type='ImageClassifier',
        backbone=dict(type='TIMMBackbone', model_name='resnet18'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(dict(type='LinearClsHead', num_classes=CLASSES, in_channels=512), **head),
    )


def test_a_backbone_of_timm_teaches() -> None:
    pytest.importorskip('timm')
    assert_teaches(backbone_of_timm())
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\] knows 7 classes'):
        classroom(backbone_of_timm(num_classes=7))


@pytest.mark.parametrize('name', ['resnet18', 'regnetx_002'])
def test_a_classifier_of_timm_teaches(name: str) -> None:
    pytest.importorskip('timm')
    assert_teaches(dict(type='TimmClassifier', model_name=name, num_classes=CLASSES))


def test_a_classifier_of_timm_with_other_classes_is_named() -> None:
    pytest.importorskip('timm')
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\] knows 7 classes, the student 4'):
        classroom(dict(type='TimmClassifier', model_name='resnet18', num_classes=7))


def test_a_classifier_of_hugging_face_teaches(tmp_path: Path) -> None:
    pytest.importorskip('transformers')
    labels = {str(index): f'class {index}' for index in range(CLASSES)}
    sizes = dict(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], embedding_size=8)
    config = dict(model_type='resnet', layer_type='basic', id2label=labels, **sizes)
    (tmp_path / 'config.json').write_text(json.dumps(config))
    assert_teaches(dict(type='HuggingFaceClassifier', model_name=str(tmp_path)))


def test_a_wrapped_network_of_torchvision_teaches() -> None:
    assert_teaches(dict(type='mmengine.TorchvisionClassifier', num_classes=CLASSES))


def test_a_wrapped_network_with_other_classes_is_named() -> None:
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\] knows 7 classes, the student 4'):
        classroom(dict(type='mmengine.TorchvisionClassifier', num_classes=7))


def test_logits_of_another_form_are_named() -> None:
    """A transformer of timm's as a backbone returns all its tokens, and stock heads take them."""
    mentor = dict(type='mmengine.TorchvisionClassifier', num_classes=CLASSES, tokens=5)
    with pytest.raises(ClassroomError, match=r'\(4, 5, 4\)'):
        classroom(mentor).mentors.predict(class_batch(4)[0])


def test_a_wrapped_student_is_refused_by_name() -> None:
    """Its loss computes the logits inside, where no head can be asked for them."""
    student = dict(type='TorchvisionClassifier', num_classes=CLASSES)
    with pytest.raises(ClassroomError, match=r'model\.student is a TorchvisionClassifier'):
        classroom(classifier(), student)
