# The regression student alone: ResNet-18 of width 8 with RLE on LSPET at 96x96.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/rle_resnet18-w8_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/rle_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

codec = dict(type='RegressionLabel', input_size=(96, 96))

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    head=dict(in_channels=64, decoder=codec),
)

# The label is all that differs from the heatmaps' pipeline.
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
