# What was best in lspet_cpu_search.py, on the five seeds of lspet_cpu.py.
# Needs: what lspet_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_confirm.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
_strategy = _base_._advantage['strategy']

baseline = 'running advantage'
methods = [
    _base_._advantage,
    dict(name='weight 2', strategy=dict(_strategy, weight=2.0)),
    dict(
        name='weight rises from 0 to 1 in the first quarter',
        strategy=_strategy,
        options={'custom_hooks': [_base_._rise]},
    ),
    dict(name='decay 0.9', strategy=dict(_strategy, decay=0.9)),
]
