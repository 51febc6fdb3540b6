# Ways to learn from several teachers, compared on pose estimation: ResNet-18 on LSPET at 192x192.
# Needs: data/lspet (see ../lspet/README.md); GPUs; mentors that are not there are trained first.
# Run: python tools/benchmark.py configs/benchmarks/lspet.py
_base_ = ['./lspet_cpu.py']

classroom = '{{fileDirname}}/../classroomkd/resnet18_lspet.py'
methods = [
    dict(name='alone', alone=True),
    dict(
        name='KD, best mentor',
        mentors=['hrnet-w32'],
        strategy=dict(type='mmkd_classroom.Average'),
    ),
    dict(name='AVER', strategy=dict(type='mmkd_classroom.Average')),
    dict(name='EBKD', strategy=dict(type='mmkd_classroom.EntropyWeighted')),
    dict(name='CA-MKD', strategy=dict(type='mmkd_classroom.ConfidenceAware')),
    dict(
        name='AMTML-KD',
        strategy=dict(
            type='mmkd_classroom.AMTML',
            # The deeper the stage, the stronger its mentor.
            hints=[
                dict(student='layer2', mentor='mobilenetv2', stage='layer3'),
                dict(student='layer3', mentor='resnet50', stage='layer3'),
                dict(student='layer4', mentor='hrnet-w32', stage='stage4'),
            ],
        ),
    ),
    dict(name='ClassroomKD, batch', strategy=dict(granularity='batch')),
    dict(name='ClassroomKD, sample'),
    dict(name='ClassroomKD, keypoint', strategy=dict(granularity='keypoint')),
]
options = dict(_delete_=True)
mentor_options = dict(_delete_=True)
