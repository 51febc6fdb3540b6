# What sets ClassroomKD apart from AVER where both have a temperature of 1; LSPET, for a CPU.
# Needs: what lspet_cpu.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_unsoftened.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
baseline = 'AVER, T = 1'
seeds = [0, 1, 2]
methods = [
    dict(name='AVER, T = 1', strategy=_base_._heatmap_average),
    dict(name='ClassroomKD'),
    dict(name='ClassroomKD, filter off', strategy=dict(filter=False)),
    dict(name='ClassroomKD, weight 0.4', strategy=dict(weight=0.4)),
]
