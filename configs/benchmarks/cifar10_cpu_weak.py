# Weak mentors: as cifar10_cpu.py, with one strong mentor and two that end below the student.
# Needs: what cifar10_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_weak.py
_base_ = ['./cifar10_cpu.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu'
classroom = '{{fileDirname}}/../classroomkd/resnet8_cifar10_weak_cpu.py'
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['wrn-16-2'], strategy=_base_._average),
    dict(name='KD, worst mentor', mentors=['resnet20-1e'], strategy=_base_._average),
    *_base_._rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            hints=[
                dict(student='layer1', mentor='resnet8-1e', stage='layer1'),
                dict(student='layer2', mentor='resnet20-1e', stage='layer2'),
                dict(student='layer3', mentor='wrn-16-2', stage='layer3'),
            ],
        ),
    ),
    *_base_._classrooms,
    _base_._advantage,
]
