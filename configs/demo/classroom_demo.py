# A classroom with the default strategy: ResNet-18 of width 8 on 400 of the demo's images, taught
# by widths 24 and 16, which were trained on 2,400, and by a bad mentor.
# Needs: data/demo (python demo/run.py --data-only); the three mentors, trained first by
# their configs in this folder from the same working directory. `make demo` trains mentors of its
# own, in work_dirs/demo.
# Train: python tools/train.py configs/demo/classroom_demo.py
_base_ = ['./td-hm_resnet18-w8_demo-128x96.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/' + f'td-hm_{file}_demo-128x96.py',
            checkpoint=f'work_dirs/td-hm_{file}_demo-128x96/epoch_{epochs}.pth',
        )
        for name, file, epochs in (
            ('resnet18-w24', 'resnet18-w24', 10),
            ('resnet18-w16', 'resnet18-w16', 10),
            ('resnet18-w4, one epoch', 'resnet18-w4', 1),
        )
    ],
    cache=dict(),
)
