# LSPET (Leeds Sports Pose Extended), one person an image, in COCO format with CrowdPose's 14
# keypoints. Athletes lie, jump and stand on their hands, so the input is square.
# The 600 images of `val.json` serve as the test set too: pick no checkpoint by their score.
codec = dict(type='MSRAHeatmap', input_size=(192, 192), heatmap_size=(48, 48), sigma=2)

dataset_type = 'CrowdPoseDataset'
data_mode = 'topdown'  # MMPoseInferencer reads it
data_root = 'data/lspet/'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='PCKAccuracy', thr=0.2, norm_item='bbox'),
    # `use_area=False`: CrowdPose takes the area from the box, not from a mask.
    dict(
        type='CocoMetric',
        ann_file=data_root + 'annotations/val.json',
        iou_type='keypoints_crowd',
        use_area=False,
        prefix='crowdpose',
    ),
]
test_evaluator = val_evaluator
