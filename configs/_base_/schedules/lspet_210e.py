# MMPose's schedule for top-down heatmaps, for one GPU with batches of 64.
_base_ = ['mmpose::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='Adam', lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[170, 200], gamma=0.1, begin=0, end=210, by_epoch=True),
]
auto_scale_lr = dict(base_batch_size=64)

# The last epoch is the result: nothing is selected on the validation images.
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
