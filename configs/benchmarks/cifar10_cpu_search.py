# What makes the running advantage better on classification, one change at a time: decay,
# temperature, weight, divergence. On seeds of its own; what helps is confirmed in
# cifar10_cpu_confirm.py.
# Needs: what cifar10_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_search.py
_base_ = ['./cifar10_cpu.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu'
_strategy = _base_._advantage['strategy']

seeds = [10, 11]
baseline = 'KD, best mentor'
methods = [
    dict(name='KD, best mentor', mentors=['wrn-16-2'], strategy=_base_._average),
    _base_._advantage,
    dict(name='decay 0.9', strategy=dict(_strategy, decay=0.9)),
    dict(name='decay 0.998', strategy=dict(_strategy, decay=0.998)),
    dict(name='T = 2', strategy=dict(_strategy, temperature=2.0)),
    dict(name='T = 8', strategy=dict(_strategy, temperature=8.0)),
    dict(name='weight 2', strategy=dict(_strategy, weight=2.0)),
    dict(name='weight 4', strategy=dict(_strategy, weight=4.0)),
    dict(
        name='weight rises from 0 to 1 in the first quarter',
        strategy=_strategy,
        options={'custom_hooks': [_base_._channels_last, _base_._rise]},
    ),
    dict(
        name='weight falls from 2 to 0',
        strategy=_strategy,
        options={'custom_hooks': [_base_._channels_last, _base_._fall]},
    ),
    dict(
        name='DKD, weight rises from 0 to 1 in the first quarter',
        strategy=_strategy,
        options={
            'model.divergence': dict(type='DKD', beta=2.0),
            'custom_hooks': [_base_._channels_last, _base_._rise],
        },
    ),
    dict(name='DIST', strategy=_strategy, options={'model.divergence': dict(type='DIST')}),
    dict(
        name='standardised logits, T = 2',
        strategy=dict(_strategy, temperature=2.0),
        options={'model.divergence': dict(type='StandardisedKL')},
    ),
]
