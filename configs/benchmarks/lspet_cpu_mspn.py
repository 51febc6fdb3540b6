# A heatmap student taught by an MSPN, and alone: a small ResNet-18 on LSPET at 96x96, for a CPU.
# Needs: what lspet_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_mspn.py
_base_ = ['./lspet_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet_mspn_cpu.py'
work_dir = 'work_dirs/benchmarks/lspet_cpu'
seeds = [0, 1, 2]
methods = [
    _base_._alone,
    dict(name='AVER, T = 1', strategy=dict(_base_._average, temperature=1.0)),
    dict(name='ClassroomKD, sample'),
    dict(name='ClassroomKD, keypoint', strategy=dict(granularity='keypoint')),
]
