# ClassroomKD: ResNet-18 of width 8 on half of CIFAR-10, taught by widths 24, 16 and 8; for a CPU.
# Needs: data/cifar10; the three mentors, trained first by their configs in configs/cifar10 from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_cifar10_cpu.py
_base_ = [
    '../cifar10/resnet18-w8_1xb128-8e_cifar10_cpu.py',
    '../_base_/classroom.py',
]

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='resnet18-w24',
            config='{{fileDirname}}/../cifar10/resnet18-w24_1xb128-8e_cifar10_cpu.py',
            checkpoint='work_dirs/resnet18-w24_1xb128-8e_cifar10_cpu/epoch_8.pth',
        ),
        dict(
            name='resnet18-w16',
            config='{{fileDirname}}/../cifar10/resnet18-w16_1xb128-8e_cifar10_cpu.py',
            checkpoint='work_dirs/resnet18-w16_1xb128-8e_cifar10_cpu/epoch_8.pth',
        ),
        dict(
            name='resnet18-w8',
            config='{{fileDirname}}/../cifar10/resnet18-w8_1xb128-8e_cifar10_cpu.py',
            checkpoint='work_dirs/resnet18-w8_1xb128-8e_cifar10_cpu/epoch_8.pth',
        ),
    ],
    task=dict(type='mmkd_classroom.ClassificationTask'),
    ranker=dict(type='mmkd_classroom.TrueClassRanker'),
    strategy=dict(type='mmkd_classroom.ClassroomKD', tau_max=12.0),
)

custom_hooks = _base_.classroom_hooks
