# AMTML-KD: ResNet-20 on CIFAR-100, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/resnet20_cifar100.py needs.
# Train: python tools/train.py configs/amtml_kd/amtml_resnet20_cifar100.py
_base_ = ['../classroomkd/resnet20_cifar100.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer1', mentor='resnet32', stage='layer1'),
            dict(student='layer2', mentor='resnet44', stage='layer2'),
            dict(student='layer3', mentor='resnet56', stage='layer3'),
        ],
    )
)
