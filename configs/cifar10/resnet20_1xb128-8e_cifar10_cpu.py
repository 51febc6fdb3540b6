# Mentor: ResNet-20 on half of CIFAR-10, a deeper peer of the student.
# Needs: data/cifar10 (see README.md); a CPU.
# Train: python tools/train.py configs/cifar10/resnet20_1xb128-8e_cifar10_cpu.py
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_jpeg_half.py',
    '../_base_/schedules/cifar10_8e.py',
]

model = dict(
    # A first stage at 16x16 costs a third of the usual one at 32x32.
    backbone=dict(type='mmkd_classroom.CifarResNet', depth=20, strides=(2, 2, 2)),
    head=dict(in_channels=64, num_classes=10),
)
