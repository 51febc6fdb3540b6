# What each part of ClassroomKD is worth: one switch changed at a time, on LSPET.
# Needs: what lspet.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_ablation.py
_base_ = ['./lspet.py']

work_dir = 'work_dirs/benchmarks/lspet'
baseline = 'ClassroomKD, tau_max 4'
methods = [*_base_._heatmap_ablation, _base_._alone]
