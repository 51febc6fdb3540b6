# ClassroomKD: ViTPose-S (alone AP 0.739) on COCO at 256x192, with mentors of another input size
# (384x288), of other codecs (UDP, MSRA, SimCC) and of other backbones.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/vitpose_coco.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py',
]

zoo = 'mmpose::body_2d_keypoint/'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'topdown_heatmap/coco/td-hm_ViTPose-base_8xb64-210e_coco-256x192.py',  # AP 0.757
        zoo + 'topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-384x288.py',  # AP 0.767
        zoo + 'rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py',  # AP 0.746
        zoo + 'topdown_heatmap/coco/cspnext-m_udp_8xb256-210e_coco-256x192.py',  # AP 0.732
    ],
    strategy=dict(type='ClassroomKD'),
)
