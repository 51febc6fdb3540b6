# ClassroomKD: HRNet-W32 (alone PCKh 0.900) on MPII at 256x256, ranked by PCK.
# Needs: MPII under data/mpii as MMPose lays it out, 8 GPUs; the mentors' weights come from MMPose's
# zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/hrnet_mpii.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py',
    '../_base_/classroom.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='hrnet-w48-dark',  # PCKh 0.905
            config=zoo + 'hrnet-w48_dark-8xb64-210e_mpii-256x256.py',
            checkpoint='zoo',
        ),
        dict(
            name='res152',  # PCKh 0.889
            config=zoo + 'res152_8xb32-210e_mpii-256x256.py',
            checkpoint='zoo',
        ),
        dict(
            name='res50',  # PCKh 0.882
            config=zoo + 'res50_8xb64-210e_mpii-256x256.py',
            checkpoint='zoo',
        ),
        dict(
            name='mobilenetv2',  # PCKh 0.854
            config=zoo + 'mobilenetv2_8xb64-210e_mpii-256x256.py',
            checkpoint='zoo',
        ),
    ],
    task=dict(type='mmkd_classroom.HeatmapTask'),
    # Not norm='head': MMPose gives MPII's head sizes for its test split only.
    ranker=dict(type='mmkd_classroom.PCKRanker', thr=0.1, norm='bbox'),
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
