# What each part of ClassroomKD is worth: one switch changed at a time, on LSPET, for a CPU.
# Needs: what lspet_cpu.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_ablation.py
_base_ = ['./lspet_cpu.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu'
seeds = [0, 1, 2]
baseline = 'ClassroomKD, tau_max 4'
methods = [*_base_._heatmap_ablation, _base_._alone]
