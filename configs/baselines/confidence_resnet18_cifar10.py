# CA-MKD: ResNet-18 of width 16 on CIFAR-10, taught by mentors weighted by their cross-entropy.
# Needs: what configs/classroomkd/resnet18_cifar10.py needs.
# Train: python tools/train.py configs/baselines/confidence_resnet18_cifar10.py
_base_ = ['../classroomkd/resnet18_cifar10.py']

model = dict(strategy=dict(_delete_=True, type='ConfidenceAware'))
