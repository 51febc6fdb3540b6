# ResNet-50 on CIFAR-100, a mentor or a student alone.
# Needs: CIFAR-100 in data/cifar100 (MMPretrain downloads it at the first start); one GPU.
# Train: python tools/train.py configs/cifar100/resnet50_1xb64-240e_cifar100.py
_base_ = [
    'mmpretrain::_base_/models/resnet50_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar100_240e.py',
]

model = dict(head=dict(num_classes=100))
