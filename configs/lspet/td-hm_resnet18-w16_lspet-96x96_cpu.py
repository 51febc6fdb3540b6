# Mentor: ResNet-18 of width 16 on LSPET at 96x96, in the middle.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet18-w16_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=16, base_channels=16),
    head=dict(in_channels=128, deconv_out_channels=(32,) * 3, decoder=_base_.codec),
)
