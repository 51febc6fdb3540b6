# ClassroomKD's tau_max for a SimCC student: a small ResNet-18 on LSPET at 96x96, for a CPU.
# Needs: what lspet_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_simcc_tau_max.py
_base_ = ['./lspet_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/simcc_resnet18_lspet_cpu.py'
baseline = 'tau_max 4'
seeds = [0, 1, 2]
methods = [
    dict(name='tau_max 4', strategy=dict(tau_max=4.0)),
    dict(name='tau_max 0', strategy=dict(tau_max=0.0)),
    dict(name='tau_max 1', strategy=dict(tau_max=1.0)),
]
