# AVER: ResNet-18 of width 8 on LSPET at 96x96, taught by all mentors alike; for a CPU.
# Needs: what configs/classroomkd/resnet18_lspet_cpu.py needs.
# Train: python tools/train.py configs/baselines/average_resnet18_lspet_cpu.py
_base_ = ['../classroomkd/resnet18_lspet_cpu.py']

model = dict(strategy=dict(_delete_=True, type='Average'))
