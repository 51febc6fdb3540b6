# ClassroomKD: ResNet-18 of width 8 on LSPET at 96x96, taught by an MSPN; for a CPU.
# Needs: data/lspet; the mentor, trained first by its config in configs/lspet from the same working
# directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_mspn_cpu.py
_base_ = ['./resnet18_lspet_cpu.py']

model = dict(
    mentors=[
        dict(
            name='mspn',
            config='{{fileDirname}}/../lspet/mspn_lspet-96x96_cpu.py',
            checkpoint='work_dirs/mspn_lspet-96x96_cpu/epoch_12.pth',
        )
    ],
)
