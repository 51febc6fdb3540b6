# Mentor: VGG-8 on CIFAR-10, a peer of another family.
# Needs: data/cifar10 (see README.md); one GPU.
# Train: python tools/train.py configs/cifar10/vgg8_1xb128-200e_cifar10.py
_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/datasets/cifar10_jpeg.py',
    '../_base_/schedules/cifar10_200e.py',
]

model = dict(
    backbone=dict(type='mmkd_classroom.CifarVGG', depth=8),
    head=dict(in_channels=512, num_classes=10),
)
