# ClassroomKD: HRNet-W32 (alone AP 0.746) on COCO at 256x192, with one mentor above it and three
# below; the filter decides on each sample which of them teach.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/hrnet_coco.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
    '../_base_/classroom.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_'
# MSRA-coded heatmaps alone, DARK's included: UDP's lie on a grid of another spacing.
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='hrnet-w48-dark',  # AP 0.764
            config=zoo + 'hrnet-w48_dark-8xb32-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='res152-dark',  # AP 0.743
            config=zoo + 'res152_dark-8xb32-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='res101',  # AP 0.728
            config=zoo + 'res101_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='res50',  # AP 0.718
            config=zoo + 'res50_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
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
