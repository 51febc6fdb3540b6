# CA-MKD: ResNet-8 on half of CIFAR-10, taught by mentors weighted by their cross-entropy; for a
# CPU.
# Needs: what configs/classroomkd/resnet8_cifar10_cpu.py needs.
# Train: python tools/train.py configs/baselines/camkd_resnet8_cifar10_cpu.py
_base_ = ['../classroomkd/resnet8_cifar10_cpu.py']

model = dict(strategy=dict(_delete_=True, type='CAMKD'))
