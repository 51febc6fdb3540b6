# Mentor: MobileNetV2 on LSPET at 192x192, a light peer of the student.
# Needs: data/lspet (see README.md); one GPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_mobilenetv2_lspet-192x192.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet.py',
    '../_base_/schedules/lspet_210e.py',
]

model = dict(
    backbone=dict(type='MobileNetV2', widen_factor=1.0, out_indices=(7,)),
    head=dict(in_channels=1280, decoder=_base_.codec),
)
