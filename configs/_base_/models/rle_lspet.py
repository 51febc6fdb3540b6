# A top-down estimator of CrowdPose's 14 joints that regresses them (RLE); a child gives the
# backbone, and the head's `in_channels` and `decoder`.
_base_ = ['./heatmap_lspet.py']

model = dict(
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        _delete_=True,
        type='RLEHead',
        num_joints=14,
        loss=dict(type='RLELoss', use_target_weight=True),
    ),
    test_cfg=dict(_delete_=True, flip_test=True, shift_coords=True),
)
