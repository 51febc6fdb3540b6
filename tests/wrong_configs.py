"""Wrong configs and what ``tools/train.py`` says of them: read by a test and by the documentation.

Each case is a right config of a small classroom with one change. In a message, … stands for what
differs from machine to machine, such as the rest of a path.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A wrong config.

    Attributes:
        kind: ``'classes'`` or ``'pose'``, of the classroom.
        change: Values by config key, as in ``--cfg-options``.
        message: The whole message, from its first word to its last.
    """

    kind: str
    change: dict[str, Any]
    message: str


ENTRY = dict(config='student.py', checkpoint='classroom_mentor_0.pth')
HOOK = 'mmkd_classroom.MentoringHook'
MENTORS = [
    Case('classes', {'model.mentors': []}, ''),
    Case('classes', {'model.mentors': 'student.py'}, ''),
    Case('classes', {'model.mentors': ['student.py']}, ''),
    Case('classes', {'model.mentors': [dict(config='student.py')]}, ''),
    Case('classes', {'model.mentors.1.weights': 'a.pth'}, ''),
    Case('classes', {'model.mentors.1.name': 'good/old'}, ''),
    Case('classes', {'model.mentors.1.precision': 'fp8'}, ''),
    Case('classes', {'model.mentors.1.input_size': [32]}, ''),
    Case('classes', {'model.mentors.1.compile': 'yes'}, ''),
    Case('classes', {'model.mentors.1.config': 'studnet.py'}, ''),
    Case('classes', {'model.mentors.1.config': 'broken.py'}, ''),
    Case('classes', {'model.mentors.1.config': 'data.py'}, ''),
    Case('classes', {'model.mentors.1.config': 'mmpretrian::resnet/resnet18_8xb32_in1k.py'}, ''),
    Case('classes', {'model.mentors.1.config': 'mmpretrain::resnet/resnet17_8xb32_in1k.py'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'zoo'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'classroom_mentor_7.pth'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'ftp://x.org/a.pth'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'page.pth'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'code.pth'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'epoch.pth'}, ''),
    Case('classes', {'model.mentors.1.checkpoint': 'other.pth'}, ''),
    Case('classes', {'model.mentors.1.class_map': [0, 1]}, ''),
    Case('classes', {'model.mentors.1.class_map': [0, 1, 1]}, ''),
    Case('classes', {'model.mentors.1.class_map': [0, 1, 'dog']}, ''),
    Case('classes', {'model.mentors.1.class_map': 'classes.pkl'}, ''),
    Case('classes', {'model.mentors.1.keypoint_map': {}}, ''),
    Case('pose', {'model.mentors.1.keypoint_map': ['nose']}, ''),
    Case('pose', {'model.mentors.1.keypoint_map': {'noze': 'nose'}}, ''),
    Case('pose', {'model.mentors.1.metainfo': 'cocoo'}, ''),
    Case('pose', {'model.mentors.1.metainfo': 'aic'}, ''),
]
PARTS = [
    Case('classes', {'model.type': 'MultiMentorDistiller'}, ''),
    Case('classes', {'model.type': 'mmkd_classroom.MultiMentorDistillr'}, ''),
    Case('classes', {'model.mentor': []}, ''),
    Case('classes', {'model.student': None}, ''),
    Case('classes', {'model.student.backbone.type': 'ResNt'}, ''),
    Case('classes', {'model.backbone': {}}, ''),
    Case('classes', {'model.strategy': {'type': 'ClasroomKD'}}, ''),
    Case('classes', {'model.strategy': {'taumax': 2.0}}, ''),
    Case('classes', {'model.strategy': {'tau_max': -1.0}}, ''),
    Case('classes', {'model.strategy': {'tau_max': 'high'}}, ''),
    Case('classes', {'model.strategy': {'granularity': 'smaple'}}, ''),
    Case('classes', {'model.strategy': {'granularity': 'keypoint'}}, ''),
    Case('classes', {'model.strategy': {'weight': -2}}, ''),
    Case('classes', {'model.ranker': {'type': 'OKSRanker'}}, ''),
    Case('classes', {'model.divergence': {'type': 'MSE'}}, ''),
    Case('classes', {'model.divergence': {'type': 'DKDD'}}, ''),
    Case('pose', {'model.adapter': 'HeatmapAdapter'}, ''),
    Case('pose', {'model.adapter': {'sharpnes': 3.0}}, ''),
    Case('pose', {'model.ranker': {'type': 'OKSRanker', 'sigmas': [0.1] * 14}}, ''),
    Case('classes', {'model.cache': True}, ''),
    Case('classes', {'model.cache': {'views': 0}}, ''),
    Case('classes', {'model.cache': {'folder': 'x'}}, ''),
    Case('classes', {'custom_hooks': [{'type': 'MentoringHook'}]}, ''),
    Case('classes', {'custom_hooks': [{'type': HOOK, 'interval': 0}]}, ''),
    Case('classes', {'custom_hooks': [{'type': HOOK, 'intervall': 5}]}, ''),
    Case('classes', {'custom_hooks': [{'type': HOOK}, {'type': HOOK}]}, ''),
    Case('classes', {'custom_hooks': [{'type': HOOK, 'weight': {'type': 'linaer'}}]}, ''),
    Case('classes', {'custom_hooks': [{'type': HOOK, 'mentor_check': {'num_samples': 1}}]}, ''),
]
DATA = [
    Case('pose', {'train_dataloader.dataset.ann_file': 'trian.json'}, ''),
    Case('pose', {'val_dataloader.dataset.ann_file': 'val.json'}, ''),
    Case('pose', {'train_dataloader.dataset.data_root': 'no_data'}, ''),
    Case('pose', {'train_dataloader.dataset.data_prefix.img': 'imagse/'}, ''),
    Case('pose', {'train_dataloader.dataset.ann_file': 'empty.json'}, ''),
    Case('pose', {'train_dataloader.dataset.ann_file': 'page.json'}, ''),
    Case('pose', {'train_dataloader.dataset.ann_file': 'no_people.json'}, ''),
    Case('pose', {'train_dataloader.dataset.ann_file': 'fourteen.json'}, ''),
    Case('pose', {'train_dataloader.dataset.type': 'CrowdPoseDataset'}, ''),
    Case('pose', {'train_dataloader.dataset.type': 'CocoDatset'}, ''),
    Case('pose', {'train_dataloader.dataset.pipeline.0.type': 'LoadImg'}, ''),
    Case('pose', {'val_evaluator': {'type': 'CocoMetric', 'ann_file': 'val.json'}}, ''),
    Case('classes', {'train_dataloader.dataset.data_root': 'no_data'}, ''),
    Case('classes', {'train_dataloader.dataset.ann_file': 'labels.txt'}, ''),
    Case('classes', {'load_from': 'no_such.pth'}, ''),
    Case('classes', {'load_from': 'list.pth'}, ''),
    Case('classes', {'load_from': 'classroom_mentor_0.pth', 'resume': True}, ''),
]
CASES = [*MENTORS, *PARTS, *DATA]
