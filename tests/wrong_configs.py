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
    Case(
        'classes',
        {'model.mentors': []},
        'model.mentors is empty: name at least one mentor, or train model.student on its own '
        'with its stock config.',
    ),
    Case(
        'classes',
        {'model.mentors': 'student.py'},
        "model.mentors is 'student.py', not a list: write [dict(config=...)].",
    ),
    Case(
        'classes',
        {'model.mentors': ['student.py']},
        "model.mentors[0] is 'student.py'. A string alone names a config of an installed "
        "package, 'mmpose::...' or 'mmpretrain::...', whose zoo has the weights. For a file of "
        "your own write dict(config='student.py', checkpoint=...) with the path or URL of its "
        'weights.',
    ),
    Case(
        'classes',
        {'model.mentors': [dict(config='student.py')]},
        "model.mentors[0] lacks 'checkpoint'. A mentor is dict(config=..., checkpoint='zoo' | "
        "path | URL), or 'package::path' alone for a config of an installed package with its "
        "zoo's weights; optional: name, input_size, flip_channels, precision, channels_last, "
        'compile, class_map.',
    ),
    Case(
        'classes',
        {'model.mentors.1.weights': 'a.pth'},
        "model.mentors[1] has the unknown key 'weights'. A mentor is dict(config=..., "
        "checkpoint='zoo' | path | URL), or 'package::path' alone for a config of an installed "
        "package with its zoo's weights; optional: name, input_size, flip_channels, precision, "
        'channels_last, compile, class_map.',
    ),
    Case(
        'classes',
        {'model.mentors.1.name': 'good/old'},
        "model.mentors[1] has the name 'good/old', which cannot be a part of the name of a "
        'folder: give it a name of at most 100 letters, without slashes: name=...',
    ),
    Case(
        'classes',
        {'model.mentors.1.precision': 'fp8'},
        "model.mentors[1].precision is 'fp8': choose one of fp32, fp16, bf16.",
    ),
    Case(
        'classes',
        {'model.mentors.1.input_size': [32]},
        'model.mentors[1].input_size is [32]: give (width, height) in pixels.',
    ),
    Case(
        'classes',
        {'model.mentors.1.compile': 'yes'},
        "model.mentors[1].compile is 'yes': give True or False.",
    ),
    Case(
        'classes',
        {'model.mentors.1.config': 'studnet.py'},
        "model.mentors[1].config = 'studnet.py': there is no such file (did you mean "
        "'student.py'?). It was sought at …/studnet.py and …/studnet.py.",
    ),
    Case(
        'classes',
        {'model.mentors.1.config': 'broken.py'},
        "model.mentors[1].config = 'broken.py' could not be loaded (SyntaxError: …: model = "
        'dict(type=). Correct that file, or name another config.',
    ),
    Case(
        'classes',
        {'model.mentors.1.config': 'data.py'},
        'model.mentors[1].config has no `model` that is a dict: it is not the config of a model.',
    ),
    Case(
        'classes',
        {'model.mentors.1.config': 'mmpretrian::resnet/resnet18_8xb32_in1k.py'},
        "model.mentors[1].config = 'mmpretrian::resnet/resnet18_8xb32_in1k.py': no package "
        "'mmpretrian' is installed (did you mean 'mmpretrain'?).",
    ),
    Case(
        'classes',
        {'model.mentors.1.config': 'mmpretrain::resnet/resnet17_8xb32_in1k.py'},
        "model.mentors[1].config = 'mmpretrain::resnet/resnet17_8xb32_in1k.py': there is no "
        "such config (did you mean 'resnet/resnet18_8xb32_in1k.py'?). It was sought at "
        '…/resnet17_8xb32_in1k.py.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'zoo'},
        "model.mentors[1].checkpoint is 'zoo', but model.mentors[1].config is 'student.py', a "
        "file: only configs written 'package::path' are in a zoo. Name the checkpoint's path "
        'or URL.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'classroom_mentor_7.pth'},
        "model.mentors[1].checkpoint = 'classroom_mentor_7.pth': there is no such file (did "
        "you mean 'classroom_mentor_1.pth'?). It was sought at …/classroom_mentor_7.pth and "
        '…/classroom_mentor_7.pth.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'ftp://x.org/a.pth'},
        "model.mentors[1].checkpoint = 'ftp://x.org/a.pth': give a path, or a URL with http:// "
        'or https://.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'page.pth'},
        "model.mentors[1].checkpoint = '…/page.pth' cannot be read: it is truncated, damaged "
        'or no PyTorch checkpoint (UnpicklingError: …). Delete …/page.pth and fetch or write '
        'it again.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'code.pth'},
        "model.mentors[1].checkpoint = '…/code.pth' is refused: it asks Python to use "
        'posix.system, which no weights need, and loading it could run any code. Nothing was '
        'run. If its author is trusted, have it saved again with its `state_dict` alone.',
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'epoch.pth'},
        "model.mentors[1].checkpoint = '…/epoch.pth' holds no weights: neither the whole file "
        'nor its entry `state_dict` or `model` is a dict of names and tensors. It has the '
        "entries ['epoch'].",
    ),
    Case(
        'classes',
        {'model.mentors.1.checkpoint': 'other.pth'},
        "model.mentors[1].checkpoint = '…/other.pth' does not fit ImageClassifier:\n"
        '\tsize mismatch for backbone.conv1.weight: copying a param with shape torch.Size([4, '
        '3, 7, 7]) from checkpoint, the shape in current model is torch.Size([8, 3, 7, 7]).\n'
        'Give the checkpoint that belongs to this config, or the config that belongs to it.',
    ),
    Case(
        'classes',
        {'model.mentors.1.class_map': [0, 1]},
        'model.mentors[1].class_map leaves out the classes [2] of the student, and names [], '
        'which it does not have: give one class of the mentor for each of the 3.',
    ),
    Case(
        'classes',
        {'model.mentors.1.class_map': [0, 1, 1]},
        "model.mentors[1].class_map gives the mentor's class 1 to 1 and to 2: its probability "
        'would count twice.',
    ),
    Case(
        'classes',
        {'model.mentors.1.class_map': [0, 1, 'dog']},
        "model.mentors[1].class_map[2] is 'dog', which is none of the mentor's 3 classes: give "
        'an index, or a name of the data set in its config.',
    ),
    Case(
        'classes',
        {'model.mentors.1.class_map': 'classes.pkl'},
        "model.mentors[1].class_map = 'classes.pkl': give a file of JSON or YAML, .json, .yaml "
        'or .yml.',
    ),
    Case(
        'classes',
        {'model.mentors.1.keypoint_map': {}},
        "model.mentors[1] has the unknown key 'keypoint_map'. A mentor is dict(config=..., "
        "checkpoint='zoo' | path | URL), or 'package::path' alone for a config of an installed "
        "package with its zoo's weights; optional: name, input_size, flip_channels, precision, "
        'channels_last, compile, class_map.',
    ),
    Case(
        'pose',
        {'model.mentors.1.keypoint_map': ['nose']},
        "model.mentors[1].keypoint_map is ['nose']: give a dict of a mentor's joint and the "
        "student's.",
    ),
    Case(
        'pose',
        {'model.mentors.1.keypoint_map': {'noze': 'nose'}},
        "model.mentors[1].keypoint_map names 'noze', which is none of the mentor's 17 joints: "
        'nose, left_eye, right_eye, left_ear, right_ear, left_shoulder, right_shoulder, '
        'left_elbow, right_elbow, left_wrist, right_wrist, left_hip, right_hip, left_knee, '
        'right_knee, left_ankle, right_ankle.',
    ),
    Case(
        'pose',
        {'model.mentors.1.metainfo': 'cocoo'},
        "model.mentors[1].metainfo = 'cocoo' is no definition of a data set "
        '(FileNotFoundError: The metainfo config file "configs/_base_/datasets/cocoo.py" does '
        "not exist.): name one of MMPose's, such as 'coco', or give dict(from_file=...).",
    ),
    Case(
        'pose',
        {'model.mentors.1.metainfo': 'aic'},
        'model.mentors[1] has 17 joints, but the data set of its config 14: give '
        'model.mentors[1].metainfo, the definition of the data set that it was trained on.',
    ),
]
PARTS = [
    Case(
        'classes',
        {'model.type': 'MultiMentorDistiller'},
        "model.type is 'MultiMentorDistiller': write 'mmkd_classroom.MultiMentorDistiller'.",
    ),
    Case(
        'classes',
        {'model.type': 'mmkd_classroom.MultiMentorDistillr'},
        "model.type is 'mmkd_classroom.MultiMentorDistillr', unknown (did you mean "
        "'MultiMentorDistiller'?).",
    ),
    Case(
        'classes',
        {'model.mentor': []},
        "model has no option 'mentor' (did you mean 'mentors'?). It takes: student, mentors, "
        'strategy, ranker, divergence, adapter, cache, data_preprocessor.',
    ),
    Case(
        'classes',
        {'model.student': None},
        "model.student is missing: write `student=_base_.model`, or a stock model's config.",
    ),
    Case(
        'classes',
        {'model.student.backbone.type': 'ResNt'},
        'model.student cannot be built (KeyError: ResNt is not in the mmpretrain::model '
        'registry. …): it must build by itself in the stock tools.',
    ),
    Case(
        'classes',
        {'model.backbone': {}},
        "model has the student's own keys ['backbone'] beside those of the classroom: write "
        "`_delete_=True` in model, so that the base config's model is replaced, and "
        '`student=_base_.model`.',
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClasroomKD'}},
        "model.strategy.type is 'ClasroomKD', which is not known (did you mean "
        "'ClassroomKD'?). The prefix of what comes with this package is 'mmkd_classroom.'; it "
        'has AMTML, AVER, CAMKD, ClassroomKD, EBKD, RunningAdvantage.',
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'taumax': 2.0}},
        "model.strategy has no option 'taumax' (did you mean 'tau_max'?). It takes: weight, "
        'tau_max, granularity, filter, ties, temperature_mode, temperature, mentor_weights, '
        'require_correct, task_weight.',
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'temperature': 8.0}},
        "model.strategy.temperature is 8.0: it is not used with temperature_mode='gap': leave it "
        'out.',
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'tau_max': -1.0}},
        'model.strategy.tau_max is -1.0: it must not be negative.',
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'tau_max': 'high'}},
        "model.strategy.tau_max is 'high', a str: give a number or None.",
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'granularity': 'smaple'}},
        "model.strategy.granularity is 'smaple': it must be one of ('sample', 'batch', "
        "'keypoint').",
    ),
    Case(
        'classes',
        {'model.strategy': {'type': 'ClassroomKD', 'granularity': 'keypoint'}},
        "model.strategy.granularity is 'keypoint', but the student predicts classes: choose "
        "'sample' or 'batch'.",
    ),
    Case(
        'classes',
        {'model.strategy': {'tau_max': 2.0}},
        "model.strategy has no type, so it is RunningAdvantage, which has no option 'tau_max'. "
        'It takes: temperature, weight, decay.',
    ),
    Case(
        'classes',
        {'model.strategy': {'weight': -2}},
        'model.strategy.weight is -2: it must not be negative.',
    ),
    Case(
        'classes',
        {'model.ranker': {'type': 'OKSRanker'}},
        'model.ranker is a OKSRanker, which ranks keypoints, but the student predicts classes: '
        'choose a ranker of classes, or leave it out.',
    ),
    Case(
        'classes',
        {'model.divergence': {'type': 'MSE'}},
        'model.divergence is MSE, which compares keypoints, but the student predicts classes: '
        "use 'mmkd_classroom.KLDivergence'.",
    ),
    Case(
        'classes',
        {'model.divergence': {'type': 'DKDD'}},
        "model.divergence.type is 'DKDD', which is not known (did you mean 'DKD'?). The prefix "
        "of what comes with this package is 'mmkd_classroom.'; it has DIST, DKD, KLDivergence, "
        'MSE, StandardisedKL.',
    ),
    Case(
        'pose',
        {'model.adapter': 'HeatmapAdapter'},
        "model.adapter is 'HeatmapAdapter': write dict(option=...).",
    ),
    Case(
        'pose',
        {'model.adapter': {'sharpnes': 3.0}},
        "model.adapter has no option 'sharpnes' (did you mean 'sharpness'?). It takes: "
        'sharpness, metainfo.',
    ),
    Case(
        'pose',
        {'model.ranker': {'type': 'OKSRanker', 'sigmas': [0.1] * 14}},
        'model.ranker.sigmas has 14 values for 17 joints: give one per joint of the student.',
    ),
    Case(
        'classes',
        {'model.cache': True},
        'model.cache is True: write dict() for its defaults.',
    ),
    Case(
        'classes',
        {'model.cache': {'views': 0}},
        'model.cache.views is 0: it must be at least 1.',
    ),
    Case(
        'classes',
        {'model.cache': {'folder': 'x'}},
        "model.cache has no option 'folder'. It takes: dir, views, seed, cells, precision.",
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': 'MentoringHook'}]},
        "custom_hooks[0].type is 'MentoringHook': write 'mmkd_classroom.MentoringHook'.",
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': HOOK, 'interval': 0}]},
        "MentoringHook.interval is 0: give a whole number of at least 1, or None for the logger's.",
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': HOOK, 'intervall': 5}]},
        "MentoringHook has no option 'intervall' (did you mean 'interval'?). It takes: "
        'interval, weight, tau_max, mentor_check, report, stop_on_alarm.',
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': HOOK}, {'type': HOOK}]},
        'custom_hooks has 2 hooks of the kind MentoringHook: keep one.',
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': HOOK, 'weight': {'type': 'linaer'}}]},
        "MentoringHook.weight.type is 'linaer' (did you mean 'linear'?): choose one of "
        "('constant', 'linear', 'cosine').",
    ),
    Case(
        'classes',
        {'custom_hooks': [{'type': HOOK, 'mentor_check': {'num_samples': 1}}]},
        'MentoringHook.mentor_check.num_samples is 1: give a whole number of at least 2.',
    ),
]
DATA = [
    Case(
        'pose',
        {'train_dataloader.dataset.ann_file': 'trian.json'},
        "train_dataloader.dataset.ann_file = 'trian.json': there is no such file (did you mean "
        "'train.json'?). It was sought at …/data/trian.json. Correct it, or data_root.",
    ),
    Case(
        'pose',
        {'val_dataloader.dataset.ann_file': 'val.json'},
        "val_dataloader.dataset.ann_file = 'val.json': there is no such file (did you mean "
        "'page.json'?). It was sought at …/data/val.json. Correct it, or data_root.",
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.data_root': 'no_data'},
        "train_dataloader.dataset.ann_file = 'train.json': there is no such file. It was "
        'sought at …/no_data/train.json. Correct it, or data_root.',
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.data_prefix.img': 'imagse/'},
        "train_dataloader.dataset.data_prefix.img = 'imagse/': there is no such folder (did "
        "you mean 'images'?). It was sought at …/data/imagse. Correct it, or data_root.",
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.ann_file': 'empty.json'},
        "train_dataloader.dataset.ann_file = 'empty.json': the file …/data/empty.json is empty.",
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.ann_file': 'page.json'},
        'train_dataloader.dataset cannot be built, with train_dataloader.dataset.ann_file = '
        "'page.json' (JSONDecodeError: Expecting value: line 1 column 1 (char 0) in line …). "
        'Correct the config or the file that it names.',
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.ann_file': 'no_people.json'},
        'train_dataloader.dataset cannot be built, with train_dataloader.dataset.ann_file = '
        "'no_people.json' (ValueError: need at least one array to concatenate in line …). "
        'Correct the config or the file that it names.',
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.ann_file': 'fourteen.json'},
        'The training samples have 14 joints, the student 17 '
        '(model.student.head.out_channels): choose a train_dataloader.dataset with the '
        "student's joints.",
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.type': 'CrowdPoseDataset'},
        'The training data name a data set of 14 joints, the student has 17: give '
        'model.adapter.metainfo, the definition of the data set, or model.ranker.sigmas.',
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.type': 'CocoDatset'},
        'train_dataloader.dataset cannot be built, with train_dataloader.dataset.ann_file = '
        "'train.json' (KeyError: CocoDatset is not in the mmpose::dataset registry. … in line "
        '…). Correct the config or the file that it names.',
    ),
    Case(
        'pose',
        {'train_dataloader.dataset.pipeline.0.type': 'LoadImg'},
        'train_dataloader.dataset cannot be built, with train_dataloader.dataset.ann_file = '
        "'train.json' (KeyError: LoadImg is not in the mmpose::transform registry. … in line "
        '…). Correct the config or the file that it names.',
    ),
    Case(
        'pose',
        {'val_evaluator': {'type': 'CocoMetric', 'ann_file': 'val.json'}},
        "val_evaluator.ann_file = 'val.json': there is no such file. It was sought at "
        '…/val.json. Correct it, or data_root.',
    ),
    Case(
        'classes',
        {'train_dataloader.dataset.data_root': 'no_data'},
        'train_dataloader.dataset cannot be built (FileNotFoundError: [Errno 2] No such file '
        "or directory: 'no_data/' in line …). Correct the config or the file that it names.",
    ),
    Case(
        'classes',
        {'train_dataloader.dataset.ann_file': 'labels.txt'},
        "train_dataloader.dataset.ann_file = 'labels.txt': there is no such file. It was "
        'sought at …/data/labels.txt. Correct it, or data_root.',
    ),
    Case(
        'classes',
        {'load_from': 'no_such.pth'},
        "load_from = 'no_such.pth': there is no such file (sought at …/no_such.pth).",
    ),
    Case(
        'classes',
        {'load_from': 'no_such.pth', 'resume': True},
        "--resume = 'no_such.pth': there is no such file (sought at …/no_such.pth).",
    ),
    Case(
        'classes',
        {'load_from': 'list.pth'},
        "The checkpoint 'list.pth' holds no weights: its entry `state_dict`, or the whole "
        'file, is no dict with names as keys.',
    ),
    Case(
        'classes',
        {'load_from': 'classroom_mentor_0.pth', 'resume': True},
        'The checkpoint cannot be resumed by model.strategy = RunningAdvantage: it has no entry '
        "'classroom', the strategy has {'averages': (2, 2)}. Resume with the strategy, mentors "
        'and stages that it was trained with. To start anew from its weights, give it as '
        'load_from, without resume.',
    ),
]
CASES = [*MENTORS, *PARTS, *DATA]
