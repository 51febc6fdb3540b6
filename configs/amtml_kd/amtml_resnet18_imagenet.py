# AMTML-KD: ResNet-18 on ImageNet, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/resnet18_imagenet.py needs.
# Train: bash tools/dist_train.sh configs/amtml_kd/amtml_resnet18_imagenet.py 8
_base_ = ['../classroomkd/resnet18_imagenet.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='layer2', mentor='mobilenet-v2', stage='layer3'),
            dict(student='layer3', mentor='regnetx-400mf', stage='layer3'),
            dict(student='layer4', mentor='resnet34', stage='layer4'),
        ],
    )
)
