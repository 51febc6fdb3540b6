# Ways to learn from several teachers, compared on classification: a small ResNet-18 on half of
# CIFAR-10, for a CPU.
# Needs: data/cifar10 (see ../cifar10/README.md); mentors that are not there are trained first.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu.py
classroom = '{{fileDirname}}/../classroomkd/resnet18_cifar10_cpu.py'
seeds = [0, 1, 2]
metrics = [dict(key='accuracy/top1', name='Top-1')]
methods = [
    dict(name='alone', alone=True),
    dict(
        name='KD, best mentor',
        mentors=['resnet18-w24'],
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
                dict(student='layer3', mentor='resnet18-w16', stage='layer3'),
                dict(student='layer4', mentor='resnet18-w24', stage='layer4'),
            ],
        ),
    ),
    dict(name='ClassroomKD, batch', strategy=dict(granularity='batch')),
    dict(name='ClassroomKD, sample'),
]
# One loading process is enough for a training of one thread.
options = {'train_dataloader.num_workers': 1}
mentor_options = options
