# KD: HRNet-W32 on COCO at 256x192, taught by its first mentor alone.
# Needs: what configs/classroomkd/hrnet_coco.py needs.
# Train: bash tools/dist_train.sh configs/baselines/kd_hrnet_coco.py 8
_base_ = ['../classroomkd/hrnet_coco.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='AVER'),
)
