# What was best in cifar10_cpu_search.py, on the five seeds of cifar10_cpu.py; also for the oracle.
# Needs: what cifar10_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_confirm.py
_base_ = ['./cifar10_cpu.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu'
_strategy = _base_._advantage['strategy']

baseline = 'running advantage'
methods = [
    _base_._advantage,
    dict(name='weight 2', strategy=dict(_strategy, weight=2.0)),
    dict(name='DIST', strategy=_strategy, options={'model.divergence': dict(type='DIST')}),
    dict(
        name='KD, best mentor, weight 2',
        mentors=['wrn-16-2'],
        strategy=dict(_base_._average, weight=2.0),
    ),
]
