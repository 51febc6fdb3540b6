# KD: ResNet-18 on LSPET at 192x192, taught by its first mentor alone.
# Needs: what configs/classroomkd/resnet18_lspet.py needs.
# Train: python tools/train.py configs/baselines/kd_resnet18_lspet.py
_base_ = ['../classroomkd/resnet18_lspet.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='Average'),
)
