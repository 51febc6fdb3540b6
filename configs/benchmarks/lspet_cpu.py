# Ways to learn from several teachers, compared on pose estimation: a small ResNet-18 on LSPET at
# 96x96, for a CPU.
# Needs: data/lspet (see ../lspet/README.md); mentors that are not there are trained first.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu.py
_base_ = ['../_base_/methods.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet_cpu.py'
# Not 0 to 5, by which the temperature was chosen.
seeds = [20, 21, 22, 23, 24]
metrics = [
    dict(key='PCK', scale=100),
    dict(key='crowdpose/AR .5', name='AR at OKS 0.5', scale=100),
]
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['resnet18-w24'], strategy=_base_._heatmap_average),
    dict(name='KD, worst mentor', mentors=['resnet18-w8'], strategy=_base_._heatmap_average),
    *_base_._heatmap_rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            temperature=1.0,
            # The deeper the stage, the stronger its mentor.
            hints=[
                dict(student='layer2', mentor='resnet18-w8', stage='layer2'),
                dict(student='layer3', mentor='resnet18-w16', stage='layer3'),
                dict(student='layer4', mentor='resnet18-w24', stage='layer4'),
            ],
        ),
    ),
    *_base_._heatmap_classrooms,
]
# One loading process is enough for a training of one thread.
mentor_options = {'train_dataloader.num_workers': 1}
# Two thirds of the classroom's schedule, for all methods alike.
options = {
    **mentor_options,
    'train_cfg.max_epochs': 8,
    'param_scheduler.1.T_max': 7,
    'param_scheduler.1.end': 8,
    'default_hooks.checkpoint.interval': 8,
}
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=8)
# Of lspet_cpu_few.py and lspet_cpu_few_weak.py: a twentieth of the images, three times as many
# steps. Batch size and learning rate are what was best for the student alone on another seed.
_few = {
    **mentor_options,
    'train_dataloader.dataset.indices': range(0, 5400, 20),
    'train_dataloader.batch_size': 16,
    'optim_wrapper.optimizer.lr': 3e-3,
    'train_cfg.max_epochs': 120,
    'train_cfg.val_interval': 120,
    'param_scheduler.0.end': 85,  # steps: five epochs
    'param_scheduler.1.begin': 5,
    'param_scheduler.1.T_max': 115,
    'param_scheduler.1.end': 120,
    'default_hooks.checkpoint.interval': 120,
}
