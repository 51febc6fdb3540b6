# How near its plateau the student alone is in lspet_cpu_few.py: it is also trained twice as long.
# Needs: what lspet_cpu_few.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_few_plateau.py
_base_ = ['./lspet_cpu_few.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu_few'
seeds = [20, 21, 22]
baseline = 'alone'
methods = [
    _base_._alone,
    dict(
        name='alone, twice as long',
        alone=True,
        options={
            'train_cfg.max_epochs': 240,
            'train_cfg.val_interval': 240,
            'param_scheduler.1.T_max': 235,
            'param_scheduler.1.end': 240,
            'default_hooks.checkpoint.interval': 240,
        },
    ),
]
