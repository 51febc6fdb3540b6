# How near its plateau the student alone is in cifar10_cpu.py: it is also trained twice as long.
# Needs: what cifar10_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_plateau.py
_base_ = ['./cifar10_cpu.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu'
seeds = [0, 1, 2]
baseline = 'alone'
methods = [
    _base_._alone,
    dict(
        name='alone, twice as long',
        alone=True,
        options={
            'train_cfg.max_epochs': 16,
            'train_cfg.val_interval': 16,
            'param_scheduler.1.T_max': 15,
            'param_scheduler.1.end': 16,
            'default_hooks.checkpoint.interval': 16,
        },
    ),
]
