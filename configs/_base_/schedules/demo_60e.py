# The same number of steps on a sixth of the images: 60 epochs of 13 batches of 32.
_base_ = ['./demo_10e.py']

train_cfg = dict(max_epochs=60, val_interval=60)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=75, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=54,
        begin=6,
        end=60,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=60))
