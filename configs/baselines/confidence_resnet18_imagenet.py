# CA-MKD: ResNet-18 on ImageNet, taught by mentors weighted by their cross-entropy.
# Needs: what configs/classroomkd/resnet18_imagenet.py needs.
# Train: bash tools/dist_train.sh configs/baselines/confidence_resnet18_imagenet.py 8
_base_ = ['../classroomkd/resnet18_imagenet.py']

model = dict(strategy=dict(_delete_=True, type='ConfidenceAware'))
