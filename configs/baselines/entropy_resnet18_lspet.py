# EBKD: ResNet-18 on LSPET at 192x192, taught by mentors weighted by their entropy.
# Needs: what configs/classroomkd/resnet18_lspet.py needs.
# Train: python tools/train.py configs/baselines/entropy_resnet18_lspet.py
_base_ = ['../classroomkd/resnet18_lspet.py']

model = dict(strategy=dict(_delete_=True, type='EntropyWeighted'))
