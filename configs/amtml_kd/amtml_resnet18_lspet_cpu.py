# AMTML-KD: ResNet-18 of width 8 on LSPET at 96x96, taught by mentors whose weights it learns; for
# a CPU.
# Needs: what configs/classroomkd/resnet18_lspet_cpu.py needs.
# Train: python tools/train.py configs/amtml_kd/amtml_resnet18_lspet_cpu.py
_base_ = ['../classroomkd/resnet18_lspet_cpu.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer2', mentor='resnet18-w8', stage='layer2'),
            dict(student='layer3', mentor='resnet18-w16', stage='layer3'),
            dict(student='layer4', mentor='resnet18-w24', stage='layer4'),
        ],
    )
)
