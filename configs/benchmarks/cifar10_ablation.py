# What each part of ClassroomKD is worth: one switch changed at a time, on CIFAR-10.
# Needs: what cifar10.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_ablation.py
_base_ = ['./cifar10.py']

work_dir = 'work_dirs/benchmarks/cifar10'
baseline = 'ClassroomKD'
methods = [*_base_._switches, _base_._all_off, _base_._alone]
