# Mentor: HRNet-W32 on LSPET at 192x192, the strongest.
# Needs: data/lspet (see README.md); one GPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/td-hm_hrnet-w32_lspet-192x192.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet.py',
    '../_base_/schedules/lspet_210e.py',
]

model = dict(
    backbone=dict(
        type='HRNet',
        in_channels=3,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(4,),
                num_channels=(64,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(4, 4),
                num_channels=(32, 64),
            ),
            stage3=dict(
                num_modules=4,
                num_branches=3,
                block='BASIC',
                num_blocks=(4, 4, 4),
                num_channels=(32, 64, 128),
            ),
            stage4=dict(
                num_modules=3,
                num_branches=4,
                block='BASIC',
                num_blocks=(4, 4, 4, 4),
                num_channels=(32, 64, 128, 256),
            ),
        ),
    ),
    head=dict(in_channels=32, deconv_out_channels=None, decoder=_base_.codec),
)
