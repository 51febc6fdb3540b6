# ClassroomKD: ViTPose-S (alone AP 0.739) on COCO at 256x192, with mentors of another input size
# (384x288), of other codecs (UDP, MSRA, SimCC) and of other backbones.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/vitpose_coco.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py',
    '../_base_/classroom.py',
]

zoo = 'mmpose::body_2d_keypoint/'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='vitpose-b',  # AP 0.757
            config=zoo + 'topdown_heatmap/coco/td-hm_ViTPose-base_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='hrnet-w48-384',  # AP 0.767
            config=zoo + 'topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-384x288.py',
            checkpoint='zoo',
        ),
        dict(
            name='rtmpose-m',  # AP 0.746
            config=zoo + 'rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='cspnext-m-udp',  # AP 0.732
            config=zoo + 'topdown_heatmap/coco/cspnext-m_udp_8xb256-210e_coco-256x192.py',
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
