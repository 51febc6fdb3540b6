# ClassroomKD: WRN-16-2 on CIFAR-100, taught by WRN-40-2 and the peers ResNet-8x4, WRN-40-1,
# ShuffleNetV2, ResNet-20 and ResNet-8.
# Needs: one GPU; the mentors, trained first by their configs in configs/cifar100 from the same
# working directory.
# Train: python tools/train.py configs/classroomkd/wrn-16-2_cifar100.py
_base_ = ['../cifar100/wrn-16-2_1xb64-240e_cifar100.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../cifar100/' + f'{name}_1xb64-240e_cifar100.py',
            checkpoint=f'work_dirs/{name}_1xb64-240e_cifar100/epoch_240.pth',
        )
        for name in ('wrn-40-2', 'resnet8x4', 'wrn-40-1', 'shufflenetv2', 'resnet20', 'resnet8')
    ],
    strategy=dict(type='ClassroomKD', tau_max=12.0),
)
