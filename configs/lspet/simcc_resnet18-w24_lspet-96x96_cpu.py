# SimCC mentor: ResNet-18 of width 24 on LSPET at 96x96, the strongest of its kind.
# Needs: data/lspet (see README.md); a CPU; the heatmap mentor of this width, whose backbone it
# starts from, trained first from the same working directory.
# Train: python tools/train.py configs/lspet/simcc_resnet18-w24_lspet-96x96_cpu.py
_base_ = [
    '../_base_/models/simcc_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

codec = dict(
    type='SimCCLabel', input_size=(96, 96), sigma=3.0, simcc_split_ratio=2.0, normalize=True
)

model = dict(
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=24,
        base_channels=24,
        # From scratch SimCC needs more than 12 epochs: RTMPose starts from a heatmap model, too.
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone.',
            checkpoint='work_dirs/td-hm_resnet18-w24_lspet-96x96_cpu/epoch_12.pth',
        ),
    ),
    head=dict(
        in_channels=192,
        deconv_out_channels=(48,) * 3,
        deconv_num_groups=(1,) * 3,
        input_size=codec['input_size'],
        in_featuremap_size=(3, 3),
        simcc_split_ratio=codec['simcc_split_ratio'],
        decoder=codec,
    ),
)

# The label is all that differs from the heatmaps' pipeline.
train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
