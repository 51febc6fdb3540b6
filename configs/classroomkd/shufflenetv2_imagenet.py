# ClassroomKD: ShuffleNetV2 (alone Top-1 69.55) on ImageNet, with a mentor that is weaker. RegNetX
# expects BGR images, the student RGB: each mentor gets its own view.
# Needs: ImageNet-1k under data/imagenet as MMPretrain lays it out, 16 GPUs; the mentors' weights
# come from MMPretrain's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/shufflenetv2_imagenet.py 16
_base_ = ['mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py']

zoo = 'mmpretrain::'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'resnet/resnet50_8xb32_in1k.py',  # Top-1 76.55
        zoo + 'regnet/regnetx-400mf_8xb128_in1k.py',  # Top-1 72.56
        zoo + 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py',  # Top-1 71.86
        zoo + 'mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',  # Top-1 66.68
    ],
    strategy=dict(type='ClassroomKD'),
)
