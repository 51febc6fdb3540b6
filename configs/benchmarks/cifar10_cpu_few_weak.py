# Few labels, weak mentors: as cifar10_cpu_weak.py, but the student has a tenth of its strong
# mentor's labels, 2,500 images for 80 epochs.
# Needs: what cifar10_cpu.py needs; runs that cifar10_cpu_few.py has, too, are made once.
# Run: python tools/benchmark.py configs/benchmarks/cifar10_cpu_few_weak.py
_base_ = ['./cifar10_cpu_weak.py']

work_dir = 'work_dirs/benchmarks/cifar10_cpu_few'
options = {**_base_._few, **_base_._fast}
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=80)
