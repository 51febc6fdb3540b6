# KD: ResNet-20 on CIFAR-100, taught by its first mentor alone.
# Needs: what configs/classroomkd/resnet20_cifar100.py needs.
# Train: python tools/train.py configs/baselines/kd_resnet20_cifar100.py
_base_ = ['../classroomkd/resnet20_cifar100.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='Average'),
)
