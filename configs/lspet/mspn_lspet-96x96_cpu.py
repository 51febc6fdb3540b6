# MSPN mentor: one stage of MSPN with a block in each of its units, on LSPET at 96x96.
# Needs: data/lspet (see README.md); a CPU; no download, it trains from scratch.
# Train: python tools/train.py configs/lspet/mspn_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/heatmap_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

# The coarse units learn wider peaks than the last one, as in MMPose's config for COCO.
codec = [
    dict(type='MegviiHeatmap', input_size=(96, 96), heatmap_size=(24, 24), kernel_size=size)
    for size in (9, 7, 7, 5)
]

model = dict(
    backbone=dict(
        type='MSPN',
        unit_channels=32,
        num_stages=1,
        num_units=4,
        num_blocks=[1, 1, 1, 1],
        norm_cfg=dict(type='BN'),
    ),
    head=dict(
        _delete_=True,
        type='MSPNHead',
        out_shape=(24, 24),
        unit_channels=32,
        out_channels=14,
        num_stages=1,
        num_units=4,
        norm_cfg=dict(type='BN'),
        level_indices=[0, 1, 2, 3],
        loss=[
            *[dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.25)] * 3,
            dict(type='KeypointOHKMMSELoss', use_target_weight=True, loss_weight=1.0),
        ],
        decoder=codec[-1],
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=False),
)

# The labels are all that differs from the heatmaps' pipeline.
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='GenerateTarget', multilevel=True, encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
