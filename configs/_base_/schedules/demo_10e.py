# A few minutes on a CPU: 10 epochs of 75 batches of 32, cosine decay after a warm-up.
_base_ = ['mmpose::_base_/default_runtime.py']

train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type='Adam', lr=5e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=75, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=9,
        begin=1,
        end=10,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=32)
randomness = dict(seed=0)

# The last epoch is the result: nothing is selected on the validation images.
default_hooks = dict(
    logger=dict(interval=25),  # a line at the end of each epoch, too
    checkpoint=dict(interval=10, max_keep_ckpts=1),
)
