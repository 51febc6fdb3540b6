# A weak mentor, undertrained: ResNet-20 after one epoch on half of CIFAR-10.
# Needs: data/cifar10 (see README.md); a CPU.
# Train: python tools/train.py configs/cifar10/resnet20_1xb128-1e_cifar10_cpu.py
_base_ = ['./resnet20_1xb128-8e_cifar10_cpu.py']

train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=196, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=1))
