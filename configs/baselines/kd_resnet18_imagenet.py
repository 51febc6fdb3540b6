# KD: ResNet-18 on ImageNet, taught by its first mentor alone.
# Needs: what configs/classroomkd/resnet18_imagenet.py needs.
# Train: bash tools/dist_train.sh configs/baselines/kd_resnet18_imagenet.py 8
_base_ = ['../classroomkd/resnet18_imagenet.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='Average'),
)
