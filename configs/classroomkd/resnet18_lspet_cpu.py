# ClassroomKD: ResNet-18 of width 8 on LSPET at 96x96, taught by widths 24, 16 and 8; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_cpu.py
_base_ = [
    '../lspet/td-hm_resnet18-w8_lspet-96x96_cpu.py',
    '../_base_/classroom.py',
]

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='resnet18-w24',
            config='{{fileDirname}}/../lspet/td-hm_resnet18-w24_lspet-96x96_cpu.py',
            checkpoint='work_dirs/td-hm_resnet18-w24_lspet-96x96_cpu/epoch_12.pth',
        ),
        dict(
            name='resnet18-w16',
            config='{{fileDirname}}/../lspet/td-hm_resnet18-w16_lspet-96x96_cpu.py',
            checkpoint='work_dirs/td-hm_resnet18-w16_lspet-96x96_cpu/epoch_12.pth',
        ),
        dict(
            name='resnet18-w8',
            config='{{fileDirname}}/../lspet/td-hm_resnet18-w8_lspet-96x96_cpu.py',
            checkpoint='work_dirs/td-hm_resnet18-w8_lspet-96x96_cpu/epoch_12.pth',
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
