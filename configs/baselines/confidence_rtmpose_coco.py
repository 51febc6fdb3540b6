# CA-MKD: RTMPose-s on COCO at 256x192, taught by mentors weighted by their cross-entropy.
# Needs: what configs/classroomkd/rtmpose_coco.py needs.
# Train: bash tools/dist_train.sh configs/baselines/confidence_rtmpose_coco.py 8
_base_ = ['../classroomkd/rtmpose_coco.py']

model = dict(strategy=dict(_delete_=True, type='ConfidenceAware'))
