# ClassroomKD: Lite-HRNet-18 (alone PCKh 0.859) on MPII at 256x256, ranked by PCK; one mentor knows
# COCO's joints and a narrower input, of which the twelve limbs are matched by name.
# Needs: MPII under data/mpii as MMPose lays it out, 8 GPUs; the mentors' weights come from MMPose's
# zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/litehrnet_mpii.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_litehrnet-18_8xb64-210e_mpii-256x256.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'mpii/td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py',  # PCKh 0.900
        zoo + 'mpii/td-hm_res50_8xb64-210e_mpii-256x256.py',  # PCKh 0.882
        zoo + 'mpii/td-hm_litehrnet-30_8xb64-210e_mpii-256x256.py',  # PCKh 0.869
        zoo + 'coco/td-hm_ViTPose-base_8xb64-210e_coco-256x192.py',  # AP 0.757
    ],
    ranker=dict(type='PCKRanker', thr=0.1, norm='bbox'),
    strategy=dict(type='ClassroomKD'),
)
