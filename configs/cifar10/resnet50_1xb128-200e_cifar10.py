# Mentor: ResNet-50 on CIFAR-10, the strongest.
# Needs: data/cifar10 (see README.md); one GPU.
# Train: python tools/train.py configs/cifar10/resnet50_1xb128-200e_cifar10.py
_base_ = [
    'mmpretrain::_base_/models/resnet50_cifar.py',
    '../_base_/datasets/cifar10_jpeg.py',
    '../_base_/schedules/cifar10_200e.py',
]
