# Weak mentors: as lspet_cpu.py, with one strong mentor and two that end below the student.
# Needs: what lspet_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_weak.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet_weak_cpu.py'
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['resnet18-w24'], strategy=_base_._heatmap_average),
    dict(name='KD, worst mentor', mentors=['resnet18-w8-2e'], strategy=_base_._heatmap_average),
    *_base_._heatmap_rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            temperature=1.0,
            hints=[
                dict(student='layer2', mentor='resnet18-w8-2e', stage='layer2'),
                dict(student='layer3', mentor='resnet18-w16-2e', stage='layer3'),
                dict(student='layer4', mentor='resnet18-w24', stage='layer4'),
            ],
        ),
    ),
    *_base_._heatmap_classrooms,
]
