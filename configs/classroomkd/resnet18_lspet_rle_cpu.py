# ClassroomKD: ResNet-18 of width 8 with heatmaps on LSPET at 96x96, taught by a mentor of width 24
# that regresses joints (RLE); for a CPU.
# Needs: data/lspet; the mentor, trained first by its config in configs/lspet from the same working
# directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_rle_cpu.py
_base_ = ['./resnet18_lspet_cpu.py']

model = dict(
    mentors=[
        dict(
            name='rle-w24',
            config='{{fileDirname}}/../lspet/rle_resnet18-w24_lspet-96x96_cpu.py',
            checkpoint='work_dirs/rle_resnet18-w24_lspet-96x96_cpu/epoch_12.pth',
        )
    ],
)
