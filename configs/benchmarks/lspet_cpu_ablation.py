# What each part of ClassroomKD is worth: one switch changed at a time, on LSPET, for a CPU.
# Needs: what lspet_cpu.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_ablation.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
baseline = 'ClassroomKD'
methods = [
    dict(name='ClassroomKD'),
    dict(name='filter off', strategy=dict(filter=False)),
    dict(name='pace fixed', strategy=dict(pace='fixed')),
    dict(name='pace of DTKD', strategy=dict(pace='dtkd')),
    dict(name='rank weights off', strategy=dict(rank_weights=False)),
    dict(name="task weight: student's score", strategy=dict(task_weight='score')),
    dict(name='tau_max 0', strategy=dict(tau_max=0.0)),
    # What a heatmap is made a distribution by; the classroom multiplies by 50.
    dict(name='sharpness 10', options={'model.task.sharpness': 10.0}),
    dict(name='sharpness 200', options={'model.task.sharpness': 200.0}),
    dict(name='MSE of heatmaps', options={'model.task.distance': 'mse'}),
    # What is left is AVER, times the number of mentors.
    dict(name='all three off', strategy=dict(filter=False, pace='fixed', rank_weights=False)),
    dict(name='alone', alone=True),
]
