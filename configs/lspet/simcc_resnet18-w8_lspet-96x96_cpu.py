# SimCC mentor: ResNet-18 of width 8 on LSPET at 96x96, the weakest of its kind.
# Needs: data/lspet (see README.md); a CPU; the heatmap mentor of this width, whose backbone it
# starts from, trained first from the same working directory.
# Train: python tools/train.py configs/lspet/simcc_resnet18-w8_lspet-96x96_cpu.py
_base_ = ['./simcc_resnet18-w24_lspet-96x96_cpu.py']

model = dict(
    backbone=dict(
        stem_channels=8,
        base_channels=8,
        init_cfg=dict(checkpoint='work_dirs/td-hm_resnet18-w8_lspet-96x96_cpu/epoch_12.pth'),
    ),
    head=dict(in_channels=64, deconv_out_channels=(16,) * 3),
)
