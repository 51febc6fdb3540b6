# Few labels: as cifar10_cpu.py, but the student has a tenth of the labels that its mentors had,
# 2,500 images for 80 epochs.
# Needs: what cifar10_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_few.py
_base_ = ['./cifar10_cpu.py']

options = {**_base_._few, **_base_._fast}
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=80)
