# KD: ResNet-18 of width 16 on CIFAR-10, taught by its first mentor alone.
# Needs: what configs/classroomkd/resnet18_cifar10.py needs.
# Train: python tools/train.py configs/baselines/kd_resnet18_cifar10.py
_base_ = ['../classroomkd/resnet18_cifar10.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='Average'),
)
