# Mentor: ResNet-18 on CIFAR-10, in the middle.
# Needs: data/cifar10 (see README.md); one GPU.
# Train: python tools/train.py configs/cifar10/resnet18_1xb128-200e_cifar10.py
_base_ = [
    'mmpretrain::_base_/models/resnet18_cifar.py',
    '../_base_/datasets/cifar10_jpeg.py',
    '../_base_/schedules/cifar10_200e.py',
]
