# A heatmap student taught by an MSPN, and alone: a small ResNet-18 on LSPET at 96x96, for a CPU.
# Needs: what lspet_cpu.py needs; runs that both plans have in common are made once.
# Run: python tools/benchmark.py configs/benchmarks/lspet_cpu_mspn.py
_base_ = ['./lspet_cpu_regression_mentor.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet_mspn_cpu.py'
