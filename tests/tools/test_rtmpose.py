"""RTMPose in a classroom that names nothing but its members, across the switch of its pipeline."""

from pathlib import Path

import mmpose
import pytest
import torch
from fixtures import write_pose_dataset

OURS = Path(__file__).parents[2] / 'tools' / 'train.py'
STOCK = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'train.py'
CONFIG = """
_base_ = ['mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-{size}_8xb256-420e_coco-256x192.py']
model = dict(
    _delete_=True,
    type='mmkd_classroom.MultiMentorDistiller',
    student=_base_.model,
    mentors=[
        dict(
            config='mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
            checkpoint=None,
        )
    ],
)

# A small data set, weights that need no download, and the switch after the first of two epochs.
model['student']['backbone'].pop('init_cfg')
train_cfg = dict(max_epochs=2, val_interval=3)
custom_hooks = _base_.custom_hooks
custom_hooks[-1].switch_epoch = 1
dataset = dict(data_root={data!r}, ann_file='train.json', data_prefix=dict(img='images/'))
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dataset)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={data!r} + '/train.json')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best=None, interval=2))
"""


@pytest.mark.parametrize(
    'size, tool', [('t', OURS), ('t', STOCK), ('s', OURS), ('m', OURS)], ids=lambda v: str(v)[-20:]
)
def test_training_goes_across_the_switch(size, tool, tmp_path, run_tool):
    data = write_pose_dataset(tmp_path / 'data', num_images=4)
    config = tmp_path / 'classroom.py'
    config.write_text(CONFIG.format(size=size, data=str(data)))
    run_tool(tool, config, '--work-dir', tmp_path / 'work')

    saved = torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)
    assert saved['meta']['iter'] == 2
    (log,) = (tmp_path / 'work').glob('*/*.log')
    text = log.read_text()
    assert 'Switch pipeline now!' in text and 'loss_mentors' in text
