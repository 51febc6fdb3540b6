# The student alone: ResNet-18 of width 8 on 400 of the demo's 2,400 images.
# Needs: data/demo (python demo/run.py --data-only); a CPU.
# Train: python tools/train.py configs/demo/td-hm_resnet18-w8_demo-128x96.py
_base_ = [
    '../_base_/models/heatmap_demo.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo_60e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    head=dict(in_channels=64, deconv_out_channels=(16,) * 3, decoder=_base_.codec),
)
train_dataloader = dict(dataset=dict(indices=range(400)))
