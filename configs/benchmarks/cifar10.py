# Ways to learn from several teachers, compared on classification: ResNet-18 of width 16 on
# CIFAR-10.
# Needs: data/cifar10 (see ../cifar10/README.md); GPUs; mentors that are not there are trained
# first.
# Run: python tools/benchmark.py configs/benchmarks/cifar10.py
_base_ = ['./cifar10_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_cifar10.py'
methods = [
    dict(name='alone', alone=True),
    dict(
        name='KD, best mentor',
        mentors=['resnet50'],
        strategy=dict(type='mmkd_classroom.Average'),
    ),
    dict(name='AVER', strategy=dict(type='mmkd_classroom.Average')),
    dict(name='EBKD', strategy=dict(type='mmkd_classroom.EntropyWeighted')),
    dict(name='CA-MKD', strategy=dict(type='mmkd_classroom.ConfidenceAware')),
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
    dict(name='ClassroomKD, batch', strategy=dict(granularity='batch')),
    dict(name='ClassroomKD, sample'),
]
options = dict(_delete_=True)
mentor_options = dict(_delete_=True)
