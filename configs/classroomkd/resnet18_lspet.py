# ClassroomKD: ResNet-18 on LSPET at 192x192, taught by HRNet-W32, ResNet-50 and MobileNetV2.
# Needs: data/lspet; one GPU; the three mentors, trained first by their configs in configs/lspet
# from the same working directory.
# Train: python tools/train.py configs/classroomkd/resnet18_lspet.py
_base_ = ['../lspet/td-hm_resnet18_lspet-192x192.py']

model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            name=name,
            config='{{fileDirname}}/../lspet/' + f'{file}.py',
            checkpoint=f'work_dirs/{file}/epoch_210.pth',
        )
        for name, file in (
            ('hrnet-w32', 'td-hm_hrnet-w32_lspet-192x192'),
            ('resnet50', 'td-hm_resnet50_lspet-192x192'),
            ('mobilenetv2', 'td-hm_mobilenetv2_lspet-192x192'),
        )
    ],
    strategy=dict(type='ClassroomKD'),
)
