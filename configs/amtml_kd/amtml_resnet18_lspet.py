# AMTML-KD: ResNet-18 on LSPET at 192x192, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/resnet18_lspet.py needs.
# Train: python tools/train.py configs/amtml_kd/amtml_resnet18_lspet.py
_base_ = ['../classroomkd/resnet18_lspet.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer2', mentor='mobilenetv2', stage='layer3'),
            dict(student='layer3', mentor='resnet50', stage='layer3'),
            dict(student='layer4', mentor='hrnet-w32', stage='stage4'),
        ],
    )
)
