# Softer targets from better mentors (tau_max 4) or none (0), on seeds that the choice was not made
# on; LSPET, for a CPU.
# Needs: what lspet_cpu.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_tau_max.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
baseline = 'ClassroomKD, tau_max 4'
seeds = [3, 4, 5]
methods = [
    dict(name='ClassroomKD, tau_max 4', strategy=dict(tau_max=4.0)),
    dict(name='ClassroomKD'),
    dict(name='AVER, T = 4', strategy=dict(_base_._average, temperature=4.0)),
]
