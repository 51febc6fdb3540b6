# AMTML-KD: ResNet-8 on half of CIFAR-10, taught by mentors whose weights it learns; for a CPU.
# Needs: what configs/classroomkd/resnet8_cifar10_cpu.py needs.
# Train: python tools/train.py configs/amtml_kd/amtml_resnet8_cifar10_cpu.py
_base_ = ['../classroomkd/resnet8_cifar10_cpu.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer1', mentor='resnet8', stage='layer1'),
            dict(student='layer2', mentor='resnet20', stage='layer2'),
            dict(student='layer3', mentor='wrn-16-2', stage='layer3'),
        ],
    )
)
