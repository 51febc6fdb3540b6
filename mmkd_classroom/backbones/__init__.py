"""CIFAR networks of the distillation literature that MMPretrain lacks, one family per file.

They are those of the benchmark in "Contrastive Representation Distillation" (Tian, Krishnan,
Isola, ICLR 2020, arXiv 1910.10699), which later papers compare on. Its ResNet-50 is MMPretrain's
``ResNet_CIFAR(depth=50)``.
"""

from .mobilenetv2 import CifarMobileNetV2
from .resnet import CifarResNet
from .shufflenetv1 import CifarShuffleNetV1
from .shufflenetv2 import CifarShuffleNetV2
from .staged import StagedBackbone
from .vgg import CifarVGG
from .wide_resnet import CifarWideResNet

__all__ = [
    'CifarMobileNetV2',
    'CifarResNet',
    'CifarShuffleNetV1',
    'CifarShuffleNetV2',
    'CifarVGG',
    'CifarWideResNet',
    'StagedBackbone',
]
