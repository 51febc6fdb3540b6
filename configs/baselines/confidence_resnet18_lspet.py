# CA-MKD: ResNet-18 on LSPET at 192x192, taught by mentors weighted by their cross-entropy.
# Needs: what configs/classroomkd/resnet18_lspet.py needs.
# Train: python tools/train.py configs/baselines/confidence_resnet18_lspet.py
_base_ = ['../classroomkd/resnet18_lspet.py']

model = dict(strategy=dict(_delete_=True, type='ConfidenceAware'))
