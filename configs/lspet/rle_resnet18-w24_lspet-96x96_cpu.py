# Regression mentor: ResNet-18 of width 24 with RLE on LSPET at 96x96.
# Needs: data/lspet (see README.md); a CPU; the heatmap mentor of this width, whose backbone it
# starts from, trained first from the same working directory.
# Train: python tools/train.py configs/lspet/rle_resnet18-w24_lspet-96x96_cpu.py
_base_ = ['./rle_resnet18-w8_lspet-96x96_cpu.py']

model = dict(
    backbone=dict(
        stem_channels=24,
        base_channels=24,
        # As MMPose's pretrained RLE, which is better than the one from scratch.
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone.',
            checkpoint='work_dirs/td-hm_resnet18-w24_lspet-96x96_cpu/epoch_12.pth',
        ),
    ),
    head=dict(in_channels=192),
)
