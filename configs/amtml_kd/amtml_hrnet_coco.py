# AMTML-KD: HRNet-W32 on COCO at 256x192, taught by mentors whose weights it learns.
# Needs: what configs/classroomkd/hrnet_coco.py needs.
# Train: bash tools/dist_train.sh configs/amtml_kd/amtml_hrnet_coco.py 8
_base_ = ['../classroomkd/hrnet_coco.py']

model = dict(
    strategy=dict(
        _delete_=True,
        type='AMTML',
        # Deep stages learn from strong mentors.
        hints=[
            dict(student='stage2', mentor='res50', stage='layer2'),
            dict(student='stage3', mentor='res101', stage='layer3'),
            dict(student='stage4', mentor='hrnet-w48_dark', stage='stage4'),
        ],
    )
)
