# A student that regresses joints (RLE), alone and taught by heatmaps: a small ResNet-18 on LSPET at
# 96x96, for a CPU.
# Needs: what lspet_cpu.py needs.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_regression.py
_base_ = ['./lspet_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/rle_resnet18_lspet_cpu.py'
seeds = [0, 1, 2]
methods = [
    _base_._alone,
    dict(
        name='KD, best mentor',
        mentors=['resnet18-w24'],
        strategy=dict(_base_._average, temperature=1.0),
    ),
    dict(name='AVER, T = 1', strategy=dict(_base_._average, temperature=1.0)),
    dict(name='ClassroomKD, sample'),
    _base_._advantage,
]
