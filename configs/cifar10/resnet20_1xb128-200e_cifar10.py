# The student alone: ResNet-20 on CIFAR-10, to compare the classroom with.
# Needs: data/cifar10 (see README.md); one GPU.
# Train: python tools/train.py configs/cifar10/resnet20_1xb128-200e_cifar10.py
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_jpeg.py',
    '../_base_/schedules/cifar10_200e.py',
]

model = dict(
    backbone=dict(type='mmkd_classroom.CifarResNet', depth=20),
    head=dict(in_channels=64, num_classes=10),
)
