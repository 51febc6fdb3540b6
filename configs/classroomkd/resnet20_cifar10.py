# ClassroomKD: ResNet-20 on CIFAR-10, taught by ResNet-56, WRN-16-2, VGG-8 and ResNet-8.
# Needs: data/cifar10; one GPU; the four mentors, trained first by their configs in configs/cifar10
# from the same working directory.
# Train: python tools/train.py configs/classroomkd/resnet20_cifar10.py
_base_ = ['../cifar10/resnet20_1xb128-200e_cifar10.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../cifar10/' + f'{name}_1xb128-200e_cifar10.py',
            checkpoint=f'work_dirs/{name}_1xb128-200e_cifar10/epoch_200.pth',
        )
        for name in ('resnet56', 'wrn-16-2', 'vgg8', 'resnet8')
    ],
    strategy=dict(type='ClassroomKD', tau_max=12.0),
)
