# Few labels: as lspet_cpu.py, but the student has a tenth of the labels that its mentors had, 540
# images for 60 epochs.
# Needs: what lspet_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_few.py
_base_ = ['./lspet_cpu.py']

options = {
    **_base_.mentor_options,
    'train_dataloader.dataset.indices': range(0, 5400, 10),
    'train_cfg.max_epochs': 60,
    'train_cfg.val_interval': 60,
    'param_scheduler.0.end': 45,  # steps: five epochs
    'param_scheduler.1.begin': 5,
    'param_scheduler.1.T_max': 55,
    'param_scheduler.1.end': 60,
    'default_hooks.checkpoint.interval': 60,
}
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=60)
