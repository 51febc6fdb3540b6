# ClassroomKD: ResNet-18 of width 8 on LSPET at 96x96, taught by widths 24, 16 and 8; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_cpu.py
_base_ = ['../lspet/td-hm_resnet18-w8_lspet-96x96_cpu.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../lspet/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_12.pth',
        )
        for name, file in (
            ('resnet18-w24', 'td-hm_resnet18-w24_lspet-96x96_cpu'),
            ('resnet18-w16', 'td-hm_resnet18-w16_lspet-96x96_cpu'),
            ('resnet18-w8', 'td-hm_resnet18-w8_lspet-96x96_cpu'),
        )
    ],
    strategy=dict(type='ClassroomKD'),
)
