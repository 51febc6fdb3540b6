# ClassroomKD: ResNet-50 with heatmaps (alone AP 0.718) on COCO at 256x192; one mentor knows the
# joints of the AI Challenger set, of which the twelve limbs are matched by name.
# Needs: COCO 2017 under data/coco as MMPose lays it out, 8 GPUs; the mentors' weights come from
# MMPose's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/resnet50_coco.py 8
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py']

zoo = 'mmpose::body_2d_keypoint/'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'topdown_heatmap/coco/td-hm_hrnet-w48_udp-8xb32-210e_coco-256x192.py',  # AP 0.768
        zoo + 'topdown_heatmap/coco/td-hm_res152_8xb32-210e_coco-256x192.py',  # AP 0.736
        zoo + 'simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py',  # AP 0.721
        zoo + 'topdown_heatmap/aic/td-hm_hrnet-w32_8xb64-210e_aic-256x192.py',  # AP 0.323
    ],
    strategy=dict(type='ClassroomKD'),
)
