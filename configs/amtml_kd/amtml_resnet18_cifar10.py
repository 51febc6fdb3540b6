# AMTML-KD: ResNet-18 of width 16 on CIFAR-10, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/resnet18_cifar10.py needs.
# Train: python tools/train.py configs/amtml_kd/amtml_resnet18_cifar10.py
_base_ = ['../classroomkd/resnet18_cifar10.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer2', mentor='resnet18-w8', stage='layer2'),
            dict(student='layer3', mentor='resnet18', stage='layer3'),
            dict(student='layer4', mentor='resnet50', stage='layer4'),
        ],
    )
)
