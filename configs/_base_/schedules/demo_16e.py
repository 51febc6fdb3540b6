# A few minutes on a CPU: 16 epochs of 47 batches of 32, cosine decay after a warm-up.
_base_ = ['mmpose::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=16, val_interval=16)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='Adam', lr=5e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=47, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=15,
        begin=1,
        end=16,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=32)
randomness = dict(seed=0)

# The last epoch is the result: nothing is selected on the validation images.
default_hooks = dict(checkpoint=dict(interval=16, max_keep_ckpts=1))
