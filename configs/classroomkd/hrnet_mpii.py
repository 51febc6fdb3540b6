# ClassroomKD: HRNet-W32 (alone PCKh 0.900) on MPII at 256x256, ranked by PCK.
# Needs: MPII under data/mpii as MMPose lays it out, 8 GPUs; the mentors' weights come from MMPose's
# zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/hrnet_mpii.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'hrnet-w48_dark-8xb64-210e_mpii-256x256.py',  # PCKh 0.905
        zoo + 'res152_8xb32-210e_mpii-256x256.py',  # PCKh 0.889
        zoo + 'res50_8xb64-210e_mpii-256x256.py',  # PCKh 0.882
        zoo + 'mobilenetv2_8xb64-210e_mpii-256x256.py',  # PCKh 0.854
    ],
    # Not norm='head': MMPose gives MPII's head sizes for its test split only.
    ranker=dict(type='PCKRanker', thr=0.1, norm='bbox'),
    strategy=dict(type='ClassroomKD'),
)
