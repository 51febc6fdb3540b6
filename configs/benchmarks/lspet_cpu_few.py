# Few labels: as lspet_cpu.py, but the student has a twentieth of its mentors' labels, 270 images
# for 120 epochs.
# Needs: what lspet_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_few.py
_base_ = ['./lspet_cpu.py']

options = _base_._few
# As many views as epochs: each method sees as many images as with mentors that run.
cache = dict(views=120)
