# The recipe of the distillation benchmarks on CIFAR-100 (Tian et al., ICLR 2020, and after): 240
# epochs with batches of 64 on one GPU. MobileNetV2 and the ShuffleNets start from a rate of 0.01.
_base_ = ['mmpretrain::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=240, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[150, 180, 210], gamma=0.1)
auto_scale_lr = dict(base_batch_size=64)

# The last epoch is the result: nothing is selected on the test images.
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
