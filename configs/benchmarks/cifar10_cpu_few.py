# Few labels: as cifar10_cpu.py, but the student has a tenth of the labels that its mentors had,
# 2,500 images for 80 epochs.
# Needs: what cifar10_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_few.py
_base_ = ['./cifar10_cpu.py']

_few = {
    **_base_.mentor_options,
    'train_dataloader.dataset.indices': range(0, 50000, 20),
    'train_cfg.max_epochs': 80,
    'train_cfg.val_interval': 80,
    'param_scheduler.0.end': 8,
    'param_scheduler.1.begin': 8,
    'param_scheduler.1.T_max': 72,
    'param_scheduler.1.end': 80,
    'default_hooks.checkpoint.interval': 80,
}
options = {**_few, **_base_._fast}
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=80)
