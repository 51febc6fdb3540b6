# ClassroomKD: ResNet-18 of width 8 on the demo's data, taught by widths 24, 16 and 4.
# Needs: data/demo (python demo/run.py --data-only); the three mentors, trained first by
# their configs in this folder from the same working directory. `make demo` does all that.
# Train: python tools/train.py configs/demo/classroom_demo.py
_base_ = ['./td-hm_resnet18-w8_demo-128x96.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name='resnet18-w24',
            config='{{fileDirname}}/td-hm_resnet18-w24_demo-128x96.py',
            checkpoint='work_dirs/td-hm_resnet18-w24_demo-128x96/epoch_10.pth',
        ),
        dict(
            name='resnet18-w16',
            config='{{fileDirname}}/td-hm_resnet18-w16_demo-128x96.py',
            checkpoint='work_dirs/td-hm_resnet18-w16_demo-128x96/epoch_10.pth',
        ),
        dict(
            name='resnet18-w4',
            config='{{fileDirname}}/td-hm_resnet18-w4_demo-128x96.py',
            checkpoint='work_dirs/td-hm_resnet18-w4_demo-128x96/epoch_10.pth',
        ),
    ],
    # The default, KL over the cells, did worse than MSE in trials on such pictures; on photographs
    # they did not differ (docs/benchmarks.md).
    divergence=dict(type='MSE'),
    strategy=dict(type='ClassroomKD', weight=3.0),
)
