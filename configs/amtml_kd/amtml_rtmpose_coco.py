# AMTML-KD: RTMPose-s on COCO at 256x192, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/rtmpose_coco.py needs.
# Train: bash tools/dist_train.sh configs/amtml_kd/amtml_rtmpose_coco.py 8
_base_ = ['../classroomkd/rtmpose_coco.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='stage2', mentor='rtmpose-m', stage='stage2'),
            dict(student='stage3', mentor='rtmpose-l', stage='stage3'),
            dict(student='stage4', mentor='vitpose-b', stage='output'),
        ],
    )
)
