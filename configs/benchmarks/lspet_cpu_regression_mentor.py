# A heatmap student taught by a mentor that regresses joints (RLE), and alone: a small ResNet-18 on
# LSPET at 96x96, for a CPU.
# Needs: what lspet_cpu.py needs, and its mentor of width 24 in work_dirs/, where its config trains
# it; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_regression_mentor.py
_base_ = ['./lspet_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet_rle_cpu.py'
work_dir = 'work_dirs/benchmarks/lspet_cpu'
seeds = [20, 21, 22]
methods = [_base_._alone, dict(name='ClassroomKD, sample'), _base_._advantage]
