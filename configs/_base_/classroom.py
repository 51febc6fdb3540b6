# What every classroom adds to its student's stock config. A list in a child replaces its base's,
# so each classroom joins these to the hooks it inherits:
#     custom_hooks = [*_base_.custom_hooks, *_base_.classroom_hooks]
classroom_hooks = [
    dict(type='mmkd_classroom.MentoringHook'),
    dict(type='mmkd_classroom.PlainCheckpointHook'),
    dict(type='mmkd_classroom.EpochSeedHook'),
]
