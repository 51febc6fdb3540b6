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
        zoo + 'hrnet-w32_8xb64-210e_coco-256x192.py',  # AP 0.746
        zoo + 'res50_8xb64-210e_coco-256x192.py',  # AP 0.718
        zoo + 'litehrnet-30_8xb64-210e_coco-256x192.py',  # AP 0.676
        zoo + 'shufflenetv2_8xb64-210e_coco-256x192.py',  # AP 0.602
    ],
    strategy=dict(type='ClassroomKD'),
)
