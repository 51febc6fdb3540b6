# ClassroomKD: MobileNetV3-Small (alone Top-1 66.68) on ImageNet. RegNetX expects BGR images, the
# student RGB: each mentor gets its own view.
# Needs: ImageNet-1k under data/imagenet as MMPretrain lays it out, 8 GPUs; the mentors' weights
# come from MMPretrain's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/mobilenetv3-small_imagenet.py 8
_base_ = ['mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py']

zoo = 'mmpretrain::'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'resnet/resnet50_8xb32_in1k.py',  # Top-1 76.55
        zoo + 'mobilenet_v3/mobilenet-v3-large_8xb128_in1k.py',  # Top-1 73.49
        zoo + 'regnet/regnetx-400mf_8xb128_in1k.py',  # Top-1 72.56
        zoo + 'shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',  # Top-1 69.55
    ],
    strategy=dict(type='ClassroomKD'),
)
