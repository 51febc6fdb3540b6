# Mentor: WRN-16-2 on CIFAR-10, a wider peer of the student.
# Needs: data/cifar10 (see README.md); one GPU.
# Train: python tools/train.py configs/cifar10/wrn-16-2_1xb128-200e_cifar10.py
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_jpeg.py',
    '../_base_/schedules/cifar10_200e.py',
]

model = dict(
    backbone=dict(type='mmkd_classroom.CifarWideResNet', depth=16, widen_factor=2),
    head=dict(in_channels=128, num_classes=10),
)
