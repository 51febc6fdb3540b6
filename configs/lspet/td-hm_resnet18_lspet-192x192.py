# The student alone: ResNet-18 on LSPET at 192x192, to compare the classroom with.
# Needs: data/lspet (see README.md); one GPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet18_lspet-192x192.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet.py',
    '../_base_/schedules/lspet_210e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18),
    head=dict(in_channels=512, decoder=_base_.codec),
)
