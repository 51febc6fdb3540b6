# How near its plateau the student alone is in cifar10_cpu_few.py: it is also trained twice as long.
# Needs: what cifar10_cpu_few.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_few_plateau.py
_base_ = ['./cifar10_cpu_few.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu_few'
seeds = [0, 1, 2]
baseline = 'alone'
methods = [
    _base_._alone,
    dict(
        name='alone, twice as long',
        alone=True,
        options={
            'train_cfg.max_epochs': 160,
            'train_cfg.val_interval': 160,
            'param_scheduler.1.T_max': 152,
            'param_scheduler.1.end': 160,
            'default_hooks.checkpoint.interval': 160,
        },
    ),
]
