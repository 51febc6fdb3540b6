# The student alone: ResNet-18 of width 8 on LSPET at 96x96; with another seed, the weakest mentor.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_resnet18-w8_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    head=dict(in_channels=64, deconv_out_channels=(16,) * 3, decoder=_base_.codec),
)
