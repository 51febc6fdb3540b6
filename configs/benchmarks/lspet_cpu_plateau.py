# How near its plateau the student alone is in lspet_cpu.py: it is also trained twice as long.
# Needs: what lspet_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_plateau.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
seeds = [20, 21, 22]
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
