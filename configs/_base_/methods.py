# What plans in configs/benchmarks compare; a plan's own keys have no underscore.
_alone = dict(name='alone', alone=True)
_average = dict(type='mmkd_classroom.AVER')

# All mentors teach; the classroom's strategy is replaced.
_rivals = [
    dict(name='AVER', strategy=_average),
    dict(name='EBKD', strategy=dict(type='mmkd_classroom.EBKD')),
    dict(name='CA-MKD', strategy=dict(type='mmkd_classroom.CAMKD')),
]
_classrooms = [
    dict(name='ClassroomKD, batch', strategy=dict(granularity='batch')),
    dict(name='ClassroomKD, sample'),
]
# A method of this project.
_advantage = dict(name='running advantage', strategy=dict(type='mmkd_classroom.RunningAdvantage'))
# Convolutions of small networks are faster in this format on a CPU.
_channels_last = dict(type='mmkd_classroom.ChannelsLastHook')
# Schedules of the distillation weight.
_rise = dict(
    type='mmkd_classroom.MentoringHook', weight=dict(type='constant', start=1.0, warmup=0.25)
)
_fall = dict(type='mmkd_classroom.MentoringHook', weight=dict(type='linear', start=2.0, end=0.0))

# One switch of the classroom changed at a time.
_fixed = dict(temperature=4.0, tau_max=None)
_switches = [
    dict(name='ClassroomKD'),
    dict(name='filter off', strategy=dict(filter=False)),
    dict(name='temperature fixed', strategy=dict(_fixed, temperature_mode='fixed')),
    dict(name='temperature of DTKD', strategy=dict(_fixed, temperature_mode='dtkd')),
    dict(name='rank weights off', strategy=dict(mentor_weights='one')),
    dict(name="task weight: student's score", strategy=dict(task_weight='score')),
    dict(name='tau_max 0', strategy=dict(tau_max=0.0)),
]
_heatmap_switches = [
    dict(name='tau_max 1', strategy=dict(tau_max=1.0)),
    # Of three mentors, about the scale of AVER's mean.
    dict(name='weight 0.4', strategy=dict(weight=0.4)),
    # What a heatmap is made a distribution by; the classroom multiplies by 50.
    dict(name='sharpness 10', options={'model.adapter.sharpness': 10.0}),
    dict(name='sharpness 200', options={'model.adapter.sharpness': 200.0}),
    dict(
        name='MSE of heatmaps',
        strategy=dict(tau_max=None),
        options={'model.divergence': dict(type='MSE')},
    ),
]
# What is left is AVER, times the number of mentors.
_all_off = dict(
    name='all three off',
    strategy=dict(_fixed, filter=False, temperature_mode='fixed', mentor_weights='one'),
)

# On heatmaps a temperature of 1 was better for all (docs/ablation.md), so all have it: rivals by
# this option, classrooms by their default, tau_max 0.
_heatmap_average = dict(_average, temperature=1.0)
_heatmap_rivals = [
    dict(method, strategy=dict(method['strategy'], temperature=1.0)) for method in _rivals
]
_heatmap_classrooms = [
    *_classrooms,
    dict(name='ClassroomKD, keypoint', strategy=dict(granularity='keypoint')),
    _advantage,
]
# In ablations tau_max is 4: at 0 there is no temperature to switch.
_heatmap_ablation = [
    dict(name='ClassroomKD, tau_max 4', strategy=dict(tau_max=4.0)),
    *[
        dict(method, strategy=dict(dict(tau_max=4.0), **method.get('strategy', {})))
        for method in [*_switches[1:], *_heatmap_switches, _all_off]
    ],
]
