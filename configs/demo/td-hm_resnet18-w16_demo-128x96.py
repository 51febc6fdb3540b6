# Mentor: ResNet-18 of width 16 on the demo's data, in the middle.
# Needs: data/demo (python demo/run.py --data-only); a CPU.
# Train: python tools/train.py configs/demo/td-hm_resnet18-w16_demo-128x96.py
_base_ = [
    '../_base_/models/heatmap_demo.py',
    '../_base_/datasets/demo.py',
    '../_base_/schedules/demo_10e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=16, base_channels=16),
    head=dict(in_channels=128, deconv_out_channels=(32,) * 3, decoder=_base_.codec),
)
