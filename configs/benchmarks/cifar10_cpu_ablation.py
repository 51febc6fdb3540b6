# What each part of ClassroomKD is worth: one switch changed at a time, on CIFAR-10, for a CPU.
# Needs: what cifar10_cpu.py needs; runs that they have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_ablation.py
_base_ = ['./cifar10_cpu.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu'
seeds = [0, 1, 2]
baseline = 'ClassroomKD'
methods = [*_base_._switches, _base_._all_off, _base_._alone]
