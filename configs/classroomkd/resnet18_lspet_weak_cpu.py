# ClassroomKD with weak mentors: ResNet-18 of width 8 on LSPET at 96x96, taught by width 24 and two
# undertrained mentors that end below it; for a CPU.
# Needs: data/lspet; the three mentors, trained first by their configs in configs/lspet from the
# same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet_weak_cpu.py
_base_ = ['./resnet18_lspet_cpu.py']

model = dict(
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../lspet/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_{epochs}.pth',
        )
        for name, file, epochs in (
            ('resnet18-w24', 'td-hm_resnet18-w24_lspet-96x96_cpu', 12),
            ('resnet18-w16-2e', 'td-hm_resnet18-w16_lspet-96x96_2e_cpu', 2),
            ('resnet18-w8-2e', 'td-hm_resnet18-w8_lspet-96x96_2e_cpu', 2),
        )
    ],
)
