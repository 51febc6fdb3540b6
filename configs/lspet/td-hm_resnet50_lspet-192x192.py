# Mentor: ResNet-50 on LSPET at 192x192, stronger than the student.
# Needs: data/lspet (see README.md); one GPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet50_lspet-192x192.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet.py',
    '../_base_/schedules/lspet_210e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=50),
    head=dict(in_channels=2048, decoder=_base_.codec),
)
