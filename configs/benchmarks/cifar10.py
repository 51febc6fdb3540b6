# Ways to learn from several teachers, compared on classification: ResNet-18 of width 16 on
# CIFAR-10.
# Needs: data/cifar10 (see ../cifar10/README.md); GPUs; mentors that are not there are trained
# first.
# Run: python tools/benchmark.py configs/benchmarks/cifar10.py
_base_ = ['../_base_/methods.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_cifar10.py'
seeds = [0, 1, 2, 3, 4]
metrics = [dict(key='accuracy/top1', name='Top-1')]
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['resnet50'], strategy=_base_._average),
    dict(name='KD, worst mentor', mentors=['resnet18-w8'], strategy=_base_._average),
    *_base_._rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            # The deeper the stage, the stronger its mentor.
            hints=[
                dict(student='layer2', mentor='resnet18-w8', stage='layer2'),
                dict(student='layer3', mentor='resnet18', stage='layer3'),
                dict(student='layer4', mentor='resnet50', stage='layer4'),
            ],
        ),
    ),
    *_base_._classrooms,
    _base_._advantage,
]
