# ClassroomKD: ResNet-18 of width 8 with heatmaps on LSPET, taught by three SimCC mentors, one of
# them at 128x128; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_simcc_cpu.py
_base_ = ['./resnet18_lspet_cpu.py']

model = dict(
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../lspet/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_12.pth',
        )
        for name, file in (
            ('simcc-w24', 'simcc_resnet18-w24_lspet-96x96_cpu'),
            ('simcc-w16-128', 'simcc_resnet18-w16_lspet-128x128_cpu'),
            ('simcc-w8', 'simcc_resnet18-w8_lspet-96x96_cpu'),
        )
    ],
)
