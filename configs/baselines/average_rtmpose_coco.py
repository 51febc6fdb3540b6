# AVER: RTMPose-s on COCO at 256x192, taught by all mentors alike.
# Needs: what configs/classroomkd/rtmpose_coco.py needs.
# Train: bash tools/dist_train.sh configs/baselines/average_rtmpose_coco.py 8
_base_ = ['../classroomkd/rtmpose_coco.py']

model = dict(strategy=dict(_delete_=True, type='Average'))
