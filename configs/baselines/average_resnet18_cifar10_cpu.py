# AVER: ResNet-18 of width 8 on half of CIFAR-10, taught by all mentors alike; for a CPU.
# Needs: what configs/classroomkd/resnet18_cifar10_cpu.py needs.
# Train: python tools/train.py configs/baselines/average_resnet18_cifar10_cpu.py
_base_ = ['../classroomkd/resnet18_cifar10_cpu.py']

model = dict(strategy=dict(_delete_=True, type='mmkd_classroom.Average'))
