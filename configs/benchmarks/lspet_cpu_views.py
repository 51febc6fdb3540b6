# How many views of a sample a cache needs, and how many cells of a heatmap: ClassroomKD from caches
# of 1 to 8 views and of several record formats, beside mentors that run in each step. ResNet-18 of
# width 8 on 540 images of LSPET for 30 epochs, for a CPU.
# Needs: data/lspet (see ../lspet/README.md); mentors that are not there are trained first, on 5,400
# images.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_views.py
_base_ = ['./lspet_cpu.py']

options = {
    **_base_.mentor_options,
    'train_dataloader.dataset.indices': range(0, 5400, 10),
    'train_cfg.max_epochs': 30,
    'train_cfg.val_interval': 30,
    'param_scheduler.0.end': 27,  # steps: three epochs
    'param_scheduler.1.begin': 3,
    'param_scheduler.1.T_max': 27,
    'param_scheduler.1.end': 30,
    'default_hooks.checkpoint.interval': 30,
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
    dict(name='8 views, 8 cells', options={'model.cache.views': 8, 'model.cache.cells': 8}),
    dict(name='8 views, all cells', options={'model.cache.views': 8, 'model.cache.cells': 'all'}),
    _base_._alone,
]
