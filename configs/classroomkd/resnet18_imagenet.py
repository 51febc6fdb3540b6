# ClassroomKD: ResNet-18 (alone Top-1 69.90) on ImageNet, in the authors' classroom; ShuffleNetV2
# has the place of GoogLeNet, which MMPretrain lacks. RegNetX expects BGR images, the student RGB:
# each mentor gets its own view.
# Needs: ImageNet-1k under data/imagenet as MMPretrain lays it out, 8 GPUs; the mentors' weights
# come from MMPretrain's zoo at the first start.
# Train: bash tools/dist_train.sh configs/classroomkd/resnet18_imagenet.py 8
_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py']

zoo = 'mmpretrain::'
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        zoo + 'resnet/resnet34_8xb32_in1k.py',  # Top-1 73.62
        zoo + 'mobilenet_v3/mobilenet-v3-large_8xb128_in1k.py',  # Top-1 73.49
        zoo + 'regnet/regnetx-400mf_8xb128_in1k.py',  # Top-1 72.56
        zoo + 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py',  # Top-1 71.86
        zoo + 'shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py',  # Top-1 69.55
    ],
    strategy=dict(type='ClassroomKD'),
)
