# ResNet-14 on CIFAR-100, a mentor or a student alone.
# Needs: CIFAR-100 in data/cifar100 (MMPretrain downloads it at the first start); one GPU.
# Train: python tools/train.py configs/cifar100/resnet14_1xb64-240e_cifar100.py
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar100_240e.py',
]

model = dict(
    backbone=dict(type='mmkd_classroom.CifarResNet', depth=14),
    head=dict(in_channels=64, num_classes=100),
)
