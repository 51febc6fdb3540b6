# A top-down estimator of CrowdPose's 14 joints with a SimCC head; a child gives the backbone, and
# the head's `in_channels`, sizes and `decoder`.
_base_ = ['./heatmap_lspet.py']

model = dict(
    head=dict(
        _delete_=True,
        type='SimCCHead',
        out_channels=14,
        loss=dict(type='KLDiscretLoss', use_target_weight=True),
    ),
    test_cfg=dict(_delete_=True, flip_test=True),
)
