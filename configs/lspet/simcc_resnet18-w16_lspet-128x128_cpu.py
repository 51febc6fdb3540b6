# SimCC mentor: ResNet-18 of width 16 on LSPET at 128x128, larger than its student's input.
# Needs: data/lspet (see README.md); a CPU; the heatmap mentor of this width, whose backbone it
# starts from, trained first from the same working directory.
# Train: python tools/train.py configs/lspet/simcc_resnet18-w16_lspet-128x128_cpu.py
_base_ = [
    '../_base_/models/simcc_lspet.py',
    '../_base_/datasets/lspet_96x96.py',
    '../_base_/schedules/lspet_12e.py',
]

codec = dict(
    type='SimCCLabel', input_size=(128, 128), sigma=4.0, simcc_split_ratio=2.0, normalize=True
)

model = dict(
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        # From scratch SimCC needs more than 12 epochs: RTMPose starts from a heatmap model, too.
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone.',
            checkpoint='work_dirs/td-hm_resnet18-w16_lspet-96x96_cpu/epoch_12.pth',
        ),
    ),
    head=dict(
        in_channels=128,
        deconv_out_channels=(32,) * 3,
        deconv_num_groups=(1,) * 3,
        input_size=codec['input_size'],
        in_featuremap_size=(4, 4),
        simcc_split_ratio=codec['simcc_split_ratio'],
        decoder=codec,
    ),
)

# The label and the size are all that differ from the heatmaps' pipeline.
train_pipeline = [
    *_base_.train_pipeline[:-3],
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    *_base_.val_pipeline[:-2],
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
