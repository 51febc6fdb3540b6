# KD: ResNet-8 on half of CIFAR-10, taught by its first mentor alone; for a CPU.
# Needs: what configs/classroomkd/resnet8_cifar10_cpu.py needs.
# Train: python tools/train.py configs/baselines/kd_resnet8_cifar10_cpu.py
_base_ = ['../classroomkd/resnet8_cifar10_cpu.py']

model = dict(
    mentors=_base_.model.mentors[:1],
    strategy=dict(_delete_=True, type='AVER'),
)
