# MMPretrain's schedule for CIFAR, for one GPU with batches of 128.
_base_ = [
    'mmpretrain::_base_/default_runtime.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
]

# The last epoch is the result: nothing is selected on the test images.
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
