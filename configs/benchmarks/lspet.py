# Ways to learn from several teachers, compared on pose estimation: ResNet-18 on LSPET at 192x192.
# Needs: data/lspet (see ../lspet/README.md); GPUs; mentors that are not there are trained first.
# Run: python tools/benchmark.py configs/benchmarks/lspet.py
_base_ = ['../_base_/methods.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet.py'
seeds = [20, 21, 22, 23, 24]
metrics = [
    dict(key='PCK', scale=100),
    dict(key='crowdpose/AR .5', name='AR at OKS 0.5', scale=100),
]
methods = [
    _base_._alone,
    dict(name='KD, best mentor', mentors=['hrnet-w32'], strategy=_base_._heatmap_average),
    dict(name='KD, worst mentor', mentors=['mobilenetv2'], strategy=_base_._heatmap_average),
    *_base_._heatmap_rivals,
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            temperature=1.0,
            # The deeper the stage, the stronger its mentor.
            hints=[
                dict(student='layer2', mentor='mobilenetv2', stage='layer3'),
                dict(student='layer3', mentor='resnet50', stage='layer3'),
                dict(student='layer4', mentor='hrnet-w32', stage='stage4'),
            ],
        ),
    ),
    *_base_._heatmap_classrooms,
]
