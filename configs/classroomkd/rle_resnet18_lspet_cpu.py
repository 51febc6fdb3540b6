# ClassroomKD: ResNet-18 of width 8 that regresses joints (RLE) on LSPET at 96x96, taught by
# heatmaps of widths 24, 16 and 8; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/rle_resnet18_lspet_cpu.py
_base_ = ['../lspet/rle_resnet18-w8_lspet-96x96_cpu.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=f'resnet18-{width}',
            config='{{fileDirname}}/../lspet/' + f'td-hm_resnet18-{width}_lspet-96x96_cpu.py',
            checkpoint=f'work_dirs/td-hm_resnet18-{width}_lspet-96x96_cpu/epoch_12.pth',
        )
        for width in ('w24', 'w16', 'w8')
    ],
    strategy=dict(type='ClassroomKD'),
)
