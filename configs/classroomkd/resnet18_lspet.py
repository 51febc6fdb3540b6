# ClassroomKD: ResNet-18 on LSPET at 192x192, taught by HRNet-W32, ResNet-50 and MobileNetV2.
# Needs: data/lspet; one GPU; the three mentors, trained first by their configs in configs/lspet
# from the same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet.py
_base_ = [
    '../lspet/td-hm_resnet18_lspet-192x192.py',
    '../_base_/classroom.py',
]

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='hrnet-w32',
            config='{{fileDirname}}/../lspet/td-hm_hrnet-w32_lspet-192x192.py',
            checkpoint='work_dirs/td-hm_hrnet-w32_lspet-192x192/epoch_210.pth',
        ),
        dict(
            name='resnet50',
            config='{{fileDirname}}/../lspet/td-hm_resnet50_lspet-192x192.py',
            checkpoint='work_dirs/td-hm_resnet50_lspet-192x192/epoch_210.pth',
        ),
        dict(
            name='mobilenetv2',
            config='{{fileDirname}}/../lspet/td-hm_mobilenetv2_lspet-192x192.py',
            checkpoint='work_dirs/td-hm_mobilenetv2_lspet-192x192/epoch_210.pth',
        ),
    ],
    task=dict(type='mmkd_classroom.HeatmapTask'),
    ranker=dict(type='mmkd_classroom.OKSRanker'),
    # Heatmaps teach best as they are, not softened: docs/benchmarks.md.
    strategy=dict(type='mmkd_classroom.ClassroomKD', tau_max=0.0),
)

custom_hooks = [*_base_.custom_hooks, *_base_.classroom_hooks]

# Scoring needs the joints in input space, which only `pack_transformed` keeps.
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='PackPoseInputs', pack_transformed=True),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
