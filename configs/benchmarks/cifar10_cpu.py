# Ways to learn from several teachers, compared on classification: ResNet-8 on half of CIFAR-10,
# for a CPU.
# Needs: data/cifar10 (see ../cifar10/README.md); mentors that are not there are trained first.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu.py
_base_ = ['../_base_/methods.py']

classroom = '{{fileDirname}}/../classroomkd/resnet8_cifar10_cpu.py'
seeds = [0, 1, 2, 3, 4]
metrics = [dict(key='accuracy/top1', name='Top-1')]
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['wrn-16-2'], strategy=_base_._average),
    dict(name='KD, worst mentor', mentors=['resnet8'], strategy=_base_._average),
    *_base_._rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            # The deeper the stage, the stronger its mentor.
            hints=[
                dict(student='layer1', mentor='resnet8', stage='layer1'),
                dict(student='layer2', mentor='resnet20', stage='layer2'),
                dict(student='layer3', mentor='wrn-16-2', stage='layer3'),
            ],
        ),
    ),
    *_base_._classrooms,
    _base_._advantage,
]
mentor_options = {'train_dataloader.num_workers': 1}
# Without loading processes: passing small images between processes is slow.
_fast = {
    f'{loader}_dataloader.{option}': value
    for loader in ('train', 'val', 'test')
    for option, value in (('num_workers', 0), ('persistent_workers', False))
}
_fast['custom_hooks'] = [_base_._channels_last]
options = _fast
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=8)
# Of cifar10_cpu_few.py and cifar10_cpu_few_weak.py: a tenth of the images, as many steps.
_few = {
    **mentor_options,
    'train_dataloader.dataset.indices': range(0, 50000, 20),
    'train_cfg.max_epochs': 80,
    'train_cfg.val_interval': 80,
    'param_scheduler.0.end': 8,
    'param_scheduler.1.begin': 8,
    'param_scheduler.1.T_max': 72,
    'param_scheduler.1.end': 80,
    'default_hooks.checkpoint.interval': 80,
}
