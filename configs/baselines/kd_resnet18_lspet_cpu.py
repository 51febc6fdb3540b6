# KD: ResNet-18 of width 8 on LSPET at 96x96, taught by its first mentor alone; for a CPU.
# Needs: what configs/classroomkd/resnet18_lspet_cpu.py needs.
# Train: python tools/train.py configs/baselines/kd_resnet18_lspet_cpu.py
_base_ = ['../classroomkd/resnet18_lspet_cpu.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='Average'),
)
