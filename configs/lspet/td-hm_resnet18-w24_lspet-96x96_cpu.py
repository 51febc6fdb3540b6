# Mentor: ResNet-18 of width 24 on LSPET at 96x96, the strongest.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet18-w24_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=24, base_channels=24),
    head=dict(in_channels=192, deconv_out_channels=(48,) * 3, decoder=_base_.codec),
)
