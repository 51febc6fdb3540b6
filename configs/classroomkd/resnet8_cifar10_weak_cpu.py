# ClassroomKD with weak mentors: ResNet-8 on half of CIFAR-10, taught by WRN-16-2 and two
# undertrained mentors that end below it; for a CPU.
# Needs: data/cifar10; the three mentors, trained first by their configs in configs/cifar10 from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet8_cifar10_weak_cpu.py
_base_ = ['./resnet8_cifar10_cpu.py']

model = dict(
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../cifar10/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_{epochs}.pth',
        )
        for name, file, epochs in (
            ('wrn-16-2', 'wrn-16-2_1xb128-8e_cifar10_cpu', 8),
            ('resnet20-1e', 'resnet20_1xb128-1e_cifar10_cpu', 1),
            ('resnet8-1e', 'resnet8_1xb128-1e_cifar10_cpu', 1),
        )
    ],
)
