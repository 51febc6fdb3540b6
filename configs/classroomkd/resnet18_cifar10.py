# ClassroomKD: ResNet-18 of width 16 on CIFAR-10, taught by ResNet-50, ResNet-18 and width 8.
# Needs: data/cifar10; one GPU; the three mentors, trained first by their configs in configs/cifar10
# from the same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_cifar10.py
_base_ = ['../cifar10/resnet18-w16_1xb128-200e_cifar10.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../cifar10/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_200.pth',
        )
        for name, file in (
            ('resnet50', 'resnet50_1xb128-200e_cifar10'),
            ('resnet18', 'resnet18_1xb128-200e_cifar10'),
            ('resnet18-w8', 'resnet18-w8_1xb128-200e_cifar10'),
        )
    ],
    strategy=dict(type='ClassroomKD', tau_max=12.0),
)
