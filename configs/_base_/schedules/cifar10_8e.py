# A short run for a CPU: batches of 128, one cosine from 0.1 after a warm-up epoch.
_base_ = ['mmpretrain::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=4)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        begin=0,
        end=1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=7,
        begin=1,
        end=8,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=128)

# The last epoch is the result: nothing is selected on the test images.
default_hooks = dict(checkpoint=dict(interval=4, max_keep_ckpts=1))
