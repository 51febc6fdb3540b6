#!/usr/bin/env python
"""Compare the time of a classroom's training step with the time of its parts.

The parts are the student's own training step (forward, backward and optimizer, as in the Runner)
and the forward pass of each mentor. The step and its parts are timed alternately in one process, so
other load on the machine affects both, and the ratio is computed per round. Weights are random and
samples are generated and processed by the config's own pipeline, so nothing is read or downloaded.
The student's own step has no MMPose accuracy, as in the classroom, if the stock head allows this
(SimCC heads do not).

Examples:
    python tools/benchmark_step.py pose
    python tools/benchmark_step.py classes --device cuda --amp
    python tools/benchmark_step.py configs/classroomkd/hrnet_coco.py --batch-size 16
    python tools/benchmark_step.py configs/benchmarks/lspet.py --batch-size 16  # all its methods
"""

import argparse
import operator
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import _common  # noqa: F401
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner

import mmkd_classroom.optim  # noqa: F401  (registers the optimizer wrapper of --amp on a CPU)
from mmkd_classroom.benchmark.plan import read_plan
from mmkd_classroom.command import set_mmpretrain_dataloaders
from mmkd_classroom.distiller import Classroom, student_of
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hub import model_config
from mmkd_classroom.mentors import Mentor
from mmkd_classroom.mentors.entry import as_entry
from mmkd_classroom.runner import pack_joints_in_config

_COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_{}_8xb64-210e_coco-256x192.py'
_RTMPOSE = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'
WHOLE, STUDENT = "the classroom's step", "the student's own step"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    presets = ', '.join(map(repr, PRESETS))
    parser.add_argument(
        'config', help=f'{presets}, a classroom config, or a plan of configs/benchmarks'
    )
    parser.add_argument('--batch-size', type=int, help="by default the preset's, or the config's")
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', action='store_true', help='in automatic mixed precision')
    parser.add_argument('--rounds', type=int, default=20, help='times that each part is measured')
    parser.add_argument('--warm-up', type=int, default=2, help='rounds that are not counted')
    parser.add_argument(
        '--steps',
        type=int,
        help='repetitions within one measurement, between two waits for the device '
        '(by default 1 on a CPU, else 10)',
    )
    return parser.parse_args(argv)


def pose_preset() -> Config:
    """ResNet-18 with heatmaps at 256x192; mentors ResNet-50, ResNet-101 and HRNet-W32."""
    cfg = get_config(_COCO.format('res50'))
    cfg.model.backbone.depth, cfg.model.head.in_channels = 18, 512
    cfg.train_pipeline[-1]['pack_transformed'] = True
    cfg.train_dataloader.update(batch_size=8)
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    mentors = {name: _COCO.format(name) for name in ('res50', 'res101', 'hrnet-w32')}
    return _classroom(cfg, mentors)


def classes_preset() -> Config:
    """ResNet-18 at 224x224; mentors ResNet-34, ResNet-50 and MobileNetV2."""
    cfg = get_config('mmpretrain::resnet/resnet18_8xb32_in1k.py')
    cfg.train_dataloader.update(batch_size=16)
    mentors = {
        'resnet34': 'mmpretrain::resnet/resnet34_8xb32_in1k.py',
        'resnet50': 'mmpretrain::resnet/resnet50_8xb32_in1k.py',
        'mobilenet-v2': 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
    }
    return _classroom(cfg, mentors)


def mixed_preset() -> Config:
    """RTMPose-s at 256x192; mentors HRNet-W32 at 384x288 (MSRA) and ViTPose-S at 256x192 (UDP)."""
    cfg = get_config(_RTMPOSE)
    # The augmentation of noise does not matter, and albumentations may not be installed.
    cfg.train_pipeline = [t for t in cfg.train_pipeline if t['type'] != 'Albumentation']
    cfg.train_pipeline[-1]['pack_transformed'] = True
    cfg.train_dataloader.update(batch_size=8)
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    mentors = {
        'hrnet-w32-384x288': _COCO.format('hrnet-w32').replace('256x192', '384x288'),
        'vitpose-s': _COCO.format('ViTPose-small'),
    }
    return _classroom(cfg, mentors)


PRESETS = dict(pose=pose_preset, classes=classes_preset, mixed=mixed_preset)


def _classroom(cfg: Config, mentors: dict[str, str]) -> Config:
    cfg.model = dict(
        type='mmkd_classroom.MultiMentorDistiller',
        student=cfg.model,
        mentors=[dict(name=name, config=path) for name, path in mentors.items()],
        strategy=dict(type='ClassroomKD'),  # it has the most to compute
    )
    return cfg


def classrooms(name: str) -> dict[str, Config]:
    """Configs by name: of a preset, of a config file, or of each method of a plan.

    Raises:
        ClassroomError: The plan is invalid.
        FileNotFoundError: There is no such preset or file.
    """
    if name in PRESETS:
        return {name: PRESETS[name]()}
    cfg = Config.fromfile(name)
    if 'methods' not in cfg:
        return {name: cfg}
    plan = read_plan(name)
    return {m.name: plan.config(m, plan.seeds[0]) for m in plan.methods if not m.alone}


def build(cfg: Config, device: str) -> tuple[Classroom, OptimWrapper]:
    """Build a classroom with random weights, in training mode, and its optimizer.

    Raises:
        ClassroomError: The config is not that of a classroom.
    """
    if 'mentors' not in cfg.get('model', {}):
        raise ClassroomError(f'{cfg.filename} has no model.mentors: give a classroom config.')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    set_mmpretrain_dataloaders(cfg)
    cfg.model.mentors = [
        dict(as_entry(mentor, 'model.mentors'), checkpoint=None) for mentor in cfg.model.mentors
    ]
    pack_joints_in_config(cfg.train_dataloader)  # with a Runner, the classroom does this
    distiller = MODELS.build(model_config(cfg)).to(device).train()
    return distiller, build_optim_wrapper(distiller, cfg.optim_wrapper)


def generated_batch(cfg: Config, num_classes: int) -> dict[str, Any]:
    """Generate a batch of ``train_dataloader`` from noise, with the config's own pipeline."""
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    dataset_cfg = loader['dataset']
    while 'dataset' in dataset_cfg:  # a wrapper, such as RepeatDataset
        dataset_cfg = dataset_cfg['dataset']
    dataset: BaseDataset = DATASETS.build(dict(dataset_cfg, lazy_init=True))
    transforms = dataset.pipeline.transforms
    dataset.pipeline.transforms = [t for t in transforms if not isinstance(t, LoadImageFromFile)]
    rng = np.random.default_rng(0)
    dataset.data_list = [
        generated_record(rng, index, dataset.metainfo.get('num_keypoints'), num_classes)
        for index in range(loader['batch_size'])
    ]
    dataset.serialize_data, dataset._fully_initialized = False, True
    return next(iter(Runner.build_dataloader(dict(loader, dataset=dataset), seed=0)))


def generated_record(
    rng: np.random.Generator, index: int, num_keypoints: int | None, num_classes: int
) -> dict[str, Any]:
    """Generate the output of the data set and its image loader for one sample."""
    image = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    record = dict(img=image, img_path='', img_shape=(256, 256), ori_shape=(256, 256))
    if num_keypoints is None:
        return dict(record, gt_label=int(rng.integers(num_classes)))
    box = np.array([[48.0, 16.0, 208.0, 240.0]], np.float32)
    return dict(
        record,
        id=index,
        img_id=index,
        category_id=1,
        bbox=box,
        bbox_score=np.ones(1, np.float32),
        keypoints=rng.uniform(64, 192, (1, num_keypoints, 2)).astype(np.float32),
        keypoints_visible=np.ones((1, num_keypoints), np.float32),
        head_size=np.full((1, 1), 30.0, np.float32),
        raw_ann_info=dict(area=16000.0),
    )


def parts_of_step(
    distiller: Classroom, optimizer: OptimWrapper, batch: dict[str, Any]
) -> dict[str, Callable[[], Any]]:
    """The whole step and its parts by name. The student's step trains the classroom's student."""
    inputs = distiller.data_preprocessor(batch, True)['inputs']
    student = student_of(distiller)
    # The mentors' inputs are computed once, so their cost is part of the whole step only.
    adapted = {mentor.name: mentor.input_adapter(inputs) for mentor in distiller.mentors}

    def mentor_forward(mentor: Mentor) -> None:
        with torch.no_grad(), optimizer.optim_context(distiller):
            mentor.model(adapted[mentor.name], None, mode='tensor')

    return {
        WHOLE: lambda: distiller.train_step(batch, optimizer),
        STUDENT: lambda: student.train_step(batch, optimizer),
        **{
            f'mentor {mentor.name}': lambda mentor=mentor: mentor_forward(mentor)
            for mentor in distiller.mentors
        },
    }


def measure(
    parts: dict[str, Callable[[], Any]], rounds: int, steps: int, wait: Callable[[], Any]
) -> dict[str, list[float]]:
    """Time the parts one after the other, in reverse order in every second round.

    Args:
        parts: Functions by name.
        rounds: Number of measurements of each.
        steps: Number of calls in one measurement.
        wait: Waits until the device has finished.

    Returns:
        Seconds per call, ``rounds`` values for each part.
    """
    times: dict[str, list[float]] = {name: [] for name in parts}
    for index in range(rounds):
        for name in list(parts)[:: 1 if index % 2 == 0 else -1]:
            wait()
            start = time.perf_counter()
            for _ in range(steps):
                parts[name]()
            wait()
            times[name].append((time.perf_counter() - start) / steps)
    return times


def report(times: dict[str, list[float]]) -> str:
    """Format a table of the times, in milliseconds."""
    parts = [name for name in times if name != WHOLE]
    sums = [sum(values) for values in zip(*(times[name] for name in parts))]
    rows = {**{name: times[name] for name in parts}, 'sum of these': sums, WHOLE: times[WHOLE]}
    lines = [f'{"milliseconds":<26}{"median":>10}{"fastest":>10}']
    for name, values in rows.items():
        lines.append(
            f'{name:<26}{1e3 * statistics.median(values):>10.1f}{1e3 * min(values):>10.1f}'
        )
    return '\n'.join(lines)


def report_ratios(times: dict[str, list[float]]) -> str:
    """Ratios of the whole step to the sum of its parts and to the student's step, per round."""
    wholes = times[WHOLE]
    rounds = zip(*(values for name, values in times.items() if name != WHOLE))
    ratios = [whole / sum(parts) for whole, parts in zip(wholes, rounds)]
    times_alone = statistics.median(map(operator.truediv, wholes, times[STUDENT]))
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return (
        f'ratio {middle:.3f} (median of {len(ratios)} rounds; quartiles {low:.3f} to {high:.3f}), '
        f"{times_alone:.2f} times the student's own step"
    )


def report_memory(parts: dict[str, Callable[[], Any]], distiller: Classroom) -> str:
    """Peak GPU memory of the whole step and of the student's own step without the mentors."""
    peaks = {}
    for name in (STUDENT, WHOLE):
        torch.cuda.reset_peak_memory_stats()
        parts[name]()
        peaks[name] = torch.cuda.max_memory_allocated() / 2**20
    weights = sum(
        tensor.numel() * tensor.element_size()
        for mentor in distiller.mentors
        for tensor in mentor.model.state_dict().values()
    )
    weights /= 2**20
    return (
        f'peak memory: {STUDENT} {peaks[STUDENT] - weights:.0f} MiB, {WHOLE} '
        f"{peaks[WHOLE]:.0f} MiB, of which the mentors' weights {weights:.0f} MiB"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    on_gpu = args.device.startswith('cuda')
    where = torch.cuda.get_device_name() if on_gpu else f'{torch.get_num_threads()} CPU threads'
    try:
        rooms = classrooms(args.config)
        for name, cfg in rooms.items():
            if args.batch_size:
                cfg.train_dataloader.batch_size = args.batch_size
            print(f'{name}: batch of {cfg.train_dataloader.batch_size}, {where}', flush=True)
            measure_classroom(cfg, args, in_detail=len(rooms) == 1)
    except (ClassroomError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')


def measure_classroom(cfg: Config, args: argparse.Namespace, in_detail: bool) -> None:
    """Measure one classroom and print the cost of its step."""
    if args.amp and args.device == 'cpu':
        cfg.optim_wrapper.type = 'mmkd_classroom.Bf16OptimWrapper'
    elif args.amp:
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    distiller, optimizer = build(cfg, args.device)
    batch = generated_batch(cfg, getattr(distiller.head, 'num_classes', 0))
    distiller.prepare(batch['data_samples'])
    parts = parts_of_step(distiller, optimizer, batch)
    on_gpu = args.device.startswith('cuda')
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    steps = args.steps or (10 if on_gpu else 1)
    measure(parts, args.warm_up, steps, wait)
    times = measure(parts, args.rounds, steps, wait)
    if in_detail:
        print(report(times))
    print(report_ratios(times))
    if on_gpu:
        print(report_memory(parts, distiller))


if __name__ == '__main__':
    main()
