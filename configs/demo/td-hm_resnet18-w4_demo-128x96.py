# A bad mentor: ResNet-18 of width 4, after one epoch on the demo's data.
# Needs: data/demo (python demo/run.py --data-only); a CPU.
# Train: python tools/train.py configs/demo/td-hm_resnet18-w4_demo-128x96.py
_base_ = [
    '../_base_/models/heatmap_demo.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo_10e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4),
    head=dict(in_channels=32, deconv_out_channels=(8,) * 3, decoder=_base_.codec),
)
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, begin=0, end=75, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=1))
