# ClassroomKD: ResNet-18 of width 8 with heatmaps on LSPET, taught by heatmap and SimCC mentors at
# two resolutions; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_mixed_cpu.py
_base_ = ['./resnet18_lspet_cpu.py']

model = dict(
    mentors=[
        dict(
            name='heatmap-w24',
            config='{{fileDirname}}/../lspet/td-hm_resnet18-w24_lspet-96x96_cpu.py',
            checkpoint='work_dirs/td-hm_resnet18-w24_lspet-96x96_cpu/epoch_12.pth',
        ),
        dict(
            name='simcc-w16-128',
            config='{{fileDirname}}/../lspet/simcc_resnet18-w16_lspet-128x128_cpu.py',
            checkpoint='work_dirs/simcc_resnet18-w16_lspet-128x128_cpu/epoch_12.pth',
        ),
        dict(
            name='heatmap-w8',
            config='{{fileDirname}}/../lspet/td-hm_resnet18-w8_lspet-96x96_cpu.py',
            checkpoint='work_dirs/td-hm_resnet18-w8_lspet-96x96_cpu/epoch_12.pth',
        ),
    ],
)
