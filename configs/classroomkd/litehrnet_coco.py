# ClassroomKD: Lite-HRNet-18 (alone AP 0.642) on COCO at 256x192, taught by two strong mentors, its
# larger sibling and a weaker peer.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/litehrnet_coco.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='hrnet-w32',  # AP 0.746
            config=zoo + 'hrnet-w32_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='res50',  # AP 0.718
            config=zoo + 'res50_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='litehrnet-30',  # AP 0.676
            config=zoo + 'litehrnet-30_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
        dict(
            name='shufflenetv2',  # AP 0.602
            config=zoo + 'shufflenetv2_8xb64-210e_coco-256x192.py',
            checkpoint='zoo',
        ),
    ],
)
