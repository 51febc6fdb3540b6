# How many views of a sample a cache needs: ClassroomKD from caches of 1 to 8 views, beside mentors
# that run in each step. ResNet-8 on 2,500 images of CIFAR-10 for 40 epochs, for a CPU.
# Needs: data/cifar10 (see ../cifar10/README.md); mentors that are not there are trained first, on
# 25,000 images.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_views.py
_base_ = ['./cifar10_cpu_few.py']

# Not the base plan's faster loading and hook: these tables were made before.
options = {
    '_delete_': True,
    **_base_._few,
    'train_cfg.max_epochs': 40,
    'train_cfg.val_interval': 40,
    'param_scheduler.0.end': 4,
    'param_scheduler.1.begin': 4,
    'param_scheduler.1.T_max': 36,
    'param_scheduler.1.end': 40,
    'default_hooks.checkpoint.interval': 40,
}
# Not those of the comparisons: defaults are chosen by this plan.
seeds = [10, 11, 12, 13, 14]
baseline = 'mentors run'
methods = [
    dict(name='mentors run', options={'model.cache': None}),
    dict(name='1 view', options={'model.cache.views': 1}),
    dict(name='2 views', options={'model.cache.views': 2}),
    dict(name='4 views', options={'model.cache.views': 4}),
    dict(name='8 views', options={'model.cache.views': 8}),
    _base_._alone,
]
