# Few labels, weak mentors: as lspet_cpu_weak.py, but the student has a twentieth of its strong
# mentor's labels, 270 images for 120 epochs.
# Needs: what lspet_cpu.py needs; runs that lspet_cpu_few.py has, too, are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_few_weak.py
_base_ = ['./lspet_cpu_weak.py']

work_dir = 'work_dirs/benchmarks/lspet_cpu_few'
options = _base_._few
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=120)
