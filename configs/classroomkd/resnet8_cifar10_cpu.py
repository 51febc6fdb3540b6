# ClassroomKD: ResNet-8 on half of CIFAR-10, taught by WRN-16-2, ResNet-20 and ResNet-8; for a CPU.
# Needs: data/cifar10; the three mentors, trained first by their configs in configs/cifar10 from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet8_cifar10_cpu.py
_base_ = ['../cifar10/resnet8_1xb128-8e_cifar10_cpu.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../cifar10/' + f'{name}_1xb128-8e_cifar10_cpu.py',
            checkpoint=f'work_dirs/{name}_1xb128-8e_cifar10_cpu/epoch_8.pth',
        )
        for name in ('wrn-16-2', 'resnet20', 'resnet8')
    ],
    strategy=dict(type='ClassroomKD', tau_max=12.0),
)
