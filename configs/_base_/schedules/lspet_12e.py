# A short run for a CPU: 12 epochs of 85 batches of 64, cosine decay after a warm-up.
_base_ = ['mmpose::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=12)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=85, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=11,
        begin=1,
        end=12,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=64)

# The last epoch is the result: nothing is selected on the validation images.
default_hooks = dict(checkpoint=dict(interval=12, max_keep_ckpts=1))
