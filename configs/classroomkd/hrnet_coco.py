# ClassroomKD: HRNet-W32 (alone AP 0.746) on COCO at 256x192, with one mentor above it and three
# below; the filter decides on each sample which of them teach.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/hrnet_coco.py 8
_base_ = [
    'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
]

zoo = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_'
# MSRA-coded heatmaps alone, DARK's included: UDP's lie on a grid of another spacing.
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'hrnet-w48_dark-8xb32-210e_coco-256x192.py',  # AP 0.764
        zoo + 'res152_dark-8xb32-210e_coco-256x192.py',  # AP 0.743
        zoo + 'res101_8xb64-210e_coco-256x192.py',  # AP 0.728
        zoo + 'res50_8xb64-210e_coco-256x192.py',  # AP 0.718
    ],
    strategy=dict(type='ClassroomKD'),
)
