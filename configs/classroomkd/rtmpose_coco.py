# ClassroomKD: RTMPose-s (alone AP 0.716) on COCO at 256x192, with two mentors of its own SimCC kind
# and two with heatmaps, which are read at the student's bins.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/rtmpose_coco.py 8
_base_ = ['mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py']

zoo = 'mmpose::body_2d_keypoint/'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'rtmpose/coco/rtmpose-l_8xb256-420e_coco-256x192.py',  # AP 0.758
        zoo + 'topdown_heatmap/coco/td-hm_ViTPose-base_8xb64-210e_coco-256x192.py',  # AP 0.757
        zoo + 'topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-256x192.py',  # AP 0.756
        zoo + 'rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py',  # AP 0.746
    ],
    strategy=dict(type='ClassroomKD'),
)
