# EBKD: ResNet-20 on CIFAR-100, taught by mentors weighted by their entropy.
# Needs: what configs/classroomkd/resnet20_cifar100.py needs.
# Train: python tools/train.py configs/baselines/entropy_resnet20_cifar100.py
_base_ = ['../classroomkd/resnet20_cifar100.py']

model = dict(strategy=dict(_delete_=True, type='EntropyWeighted'))
