# ClassroomKD: ShuffleNetV1 on CIFAR-100, taught by ResNet-32x4 and the peers ShuffleNetV2,
# ResNet-20, ResNet-14, MobileNetV2 and ResNet-8.
# Needs: one GPU; the mentors, trained first by their configs in configs/cifar100 from the same
# working directory.
# Train: python tools/train.py configs/classroomkd/shufflenetv1_cifar100.py
_base_ = ['../cifar100/shufflenetv1_1xb64-240e_cifar100.py']

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
        for name in ('resnet32x4', 'shufflenetv2', 'resnet20', 'resnet14', 'mobilenetv2', 'resnet8')
    ],
    strategy=dict(type='ClassroomKD', tau_max=12.0),
)
