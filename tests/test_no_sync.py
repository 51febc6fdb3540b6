"""A training step reads nothing from the device: each reading would stop it, once per mentor.

The step runs on PyTorch's ``meta`` device, whose tensors have shapes but no values: whatever needs
a value on the host (``item``, ``bool``, ``cpu``, ``numpy``, indices by a mask, ...) raises. It runs
once more on a device that PyTorch's fake tensors pretend to have: operations on tensors of two
devices raise there, where ``meta`` lets some of them pass (``mm``, ``gather``, ``einsum``).
"""

import itertools
import os
import re
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from toys import build, class_batch, classifier, estimator, packed, person, pose_batch

from mmkd_classroom.cache.pipelines import SHOWN, ShownView
from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.registry import MODELS
from mmkd_classroom.strategies import ClassroomKD

FAKE = 'pretend'
setup = getattr(backend_registration, '_setup_privateuseone_for_python_backend', None)
PRETENDS = 'PRETENDS' in os.environ
if PRETENDS:
    setup(FAKE)
    # What autocast asks of a backend.
    getattr(torch, FAKE).get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]

OTHERS = dict(
    aver=dict(type='mmkd_classroom.AVER'),
    ebkd=dict(type='mmkd_classroom.EBKD'),
    advantage=dict(type='mmkd_classroom.RunningAdvantage'),
    camkd=dict(type='mmkd_classroom.CAMKD', mentor_stages='layer2'),
    amtml=dict(
        type='mmkd_classroom.AMTML', hints=[dict(student='layer2', mentor=1, stage='layer3')]
    ),
)
CODECS = dict(heatmap='msra', simcc='simcc')


def distiller(student, mentors, strategy=None, **parts):
    return MultiMentorDistiller(
        student=build(student),
        mentors=[
            dict(checkpoint=None, **(m if 'config' in m else dict(config=dict(model=m))))
            for m in mentors
        ],
        strategy=dict(dict(type='mmkd_classroom.ClassroomKD'), **(strategy or {})),
        **parts,
    )


def other_pixels(model):
    """The model with another normalisation, so that the input adapter has something to do."""
    preprocessor = dict(model['data_preprocessor'], mean=[127.5] * 3, std=[127.5] * 3)
    preprocessor.pop('bgr_to_rgb', None)
    return dict(model, data_preprocessor=preprocessor)


class Transfers(TorchDispatchMode):
    """Counts copies from the host and to it: each that is not pinned stops the device, too."""

    def __init__(self):
        super().__init__()
        self.uploads = self.downloads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        position = {torch.ops.aten._to_copy.default: 0, torch.ops.aten.copy_.default: 1}.get(func)
        if position is not None and isinstance(args[position], torch.Tensor):
            source, target = args[position].device.type, result.device.type
            self.uploads += source == 'cpu' != target
            self.downloads += source != 'cpu' == target
        return result


def world(device):
    """Where tensors of this device can be."""
    return FakeTensorMode(allow_non_fake_inputs=True) if device == FAKE else nullcontext()


def step(model, inputs, samples, device):
    """Forward, MMEngine's sum of the losses, and backward, twice: the first step sets things up.

    Returns:
        Number of copies from the host to the device in the second step.
    """
    model.prepare(samples)
    with world(device):
        model = model.to(device).train()
        for _ in range(2):
            # On the device, as the data preprocessor leaves them.
            batch, images = [sample.to(device) for sample in samples], inputs.to(device)
            with Transfers() as transfers:
                loss, _ = model.parse_losses(model(images, batch, mode='loss'))
                loss.backward()
    assert loss.device.type == device
    assert all(p.grad.device == p.device for p in model.parameters() if p.requires_grad)
    assert model.statistics.steps == 2
    assert transfers.downloads == 0
    return transfers.uploads


devices = pytest.mark.parametrize('device', [FAKE if PRETENDS else 'meta'])


@pytest.mark.slow
@pytest.mark.timeout(900)  # all the tests of this file
@pytest.mark.skipif(PRETENDS, reason='this is that process')
@pytest.mark.skipif(setup is None, reason='this PyTorch cannot pretend to have a device')
def test_all_this_on_a_pretended_device():
    """In a process of its own: PyTorch must know the device before its first backward pass."""
    options = ['-q', '-p', 'no:cacheprovider', '-k', FAKE]
    command = [sys.executable, '-m', 'pytest', *options, __file__]
    done = subprocess.run(
        command, env={**os.environ, 'PRETENDS': '1'}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) > 80


@devices
@pytest.mark.parametrize('mode', ['gap', 'fixed', 'dtkd'])
@pytest.mark.parametrize('granularity', ['sample', 'batch', 'keypoint'])
def test_a_step_on_poses(granularity, mode, device):
    inputs, samples = pose_batch(2)
    for switch in (True, False):
        strategy = dict(
            granularity=granularity, temperature_mode=mode, require_correct=switch, filter=switch,
            mentor_weights='rank' if switch else 'one', ties=switch,
            task_weight='score' if switch else 'one',
        )  # fmt: skip
        model = distiller(estimator(), [other_pixels(estimator())], strategy)
        assert step(model, inputs, samples, device) == 1  # the targets, pinned


@devices
@pytest.mark.parametrize('mode', ['gap', 'fixed', 'dtkd'])
@pytest.mark.parametrize('granularity', ['sample', 'batch'])
def test_a_step_on_classes(granularity, mode, device):
    for switch, soft in itertools.product([True, False], repeat=2):
        strategy = dict(
            granularity=granularity, temperature_mode=mode, require_correct=switch, filter=switch,
            mentor_weights='rank' if switch else 'one', ties=switch,
            task_weight='score' if switch else 'one',
        )  # fmt: skip
        loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=4) if soft else None
        student = classifier(**(dict(loss=loss) if soft else {}))
        model = distiller(student, [other_pixels(classifier(16))], strategy)
        assert step(model, *class_batch(4, soft=soft), device) == 0


@devices
@pytest.mark.parametrize(
    'name', ['dark', 'udp', 'offsets', 'point', 'integral', 'dsnt', 'smoothed']
)
def test_the_other_codecs(name, device):
    mentors = [estimator(codec_name=kind) for kind in (name, 'msra', 'simcc', 'rle', 'offsets')]
    model = distiller(estimator(codec_name=name), mentors)
    assert step(model, *pose_batch(2, codec_name=name), device) == 1


@devices
@pytest.mark.parametrize('norm', ['bbox', 'head'])
def test_the_other_ranker_and_divergence(norm, device):
    people = [dict(person(seed), head_size=np.array([30.0], np.float32)) for seed in range(2)]
    records = [packed(record) for record in people]
    model = distiller(
        estimator(), [estimator()], divergence=dict(type='MSE'),
        ranker=dict(type='PCKRanker', norm=norm, thr=0.5),
    )  # fmt: skip
    inputs = torch.stack([record['inputs'].float() for record in records])
    assert step(model, inputs, [record['data_samples'] for record in records], device) == 1


@devices
@pytest.mark.parametrize('name', OTHERS)
@pytest.mark.parametrize('task', ['heatmap', 'simcc', 'classes'])
def test_a_step_with_the_other_strategies(name, task, device):
    if task != 'classes':
        student = estimator(codec_name=CODECS[task])
        model = distiller(student, [other_pixels(estimator())] * 2, OTHERS[name])
        assert (
            step(model, *pose_batch(3, codec_name=CODECS[task]), device) == 1
        )  # the targets, pinned
    else:
        model = distiller(classifier(), [other_pixels(classifier(16))] * 2, OTHERS[name])
        assert step(model, *class_batch(3), device) == 0


FORMATS = [
    'msra',
    'udp',
    'megvii',
    'offsets',
    'simcc',
    'smoothed',
    'point',
    'rle',
    'integral',
    'dsnt',
]


@devices
@pytest.mark.parametrize('form', [form for form in FORMATS if form != 'rle'])
def test_every_conversion(form, device):
    """From all forms, of the same size and of another."""
    sizes = dict(own={}, other=dict(input_size=(96, 128)))
    mentors = [
        entry(estimator(codec_name=theirs, **size), name=f'{theirs}-{name}')
        for theirs in FORMATS
        for name, size in sizes.items()
    ]
    model = distiller(estimator(codec_name=form), mentors)
    assert step(model, *pose_batch(2, codec_name=form), device) == 1  # the targets, pinned


def entry(model, **options):
    return dict(config=dict(model=model), **options)


def half(device, precision):
    """Modules of fake tensors on a pretended device cannot always be cast (`Couldn't swap`)."""
    return {} if device == FAKE else dict(precision=precision)


@devices
@pytest.mark.parametrize('granularity', ['sample', 'keypoint'])
@pytest.mark.parametrize('form', ['msra', 'simcc', 'point'])
def test_mentors_of_other_joints_and_precision(form, granularity, device):
    mentors = [
        entry(estimator(out_channels=14), metainfo='crowdpose', keypoint_map={'top_head': 'nose'}),
        entry(estimator(codec_name='simcc'), channels_last=True, **half(device, 'bf16')),
        entry(other_pixels(estimator(codec_name='udp')), **half(device, 'fp16')),
    ]
    parts = dict(adapter=dict(metainfo='coco'))
    model = distiller(estimator(codec_name=form), mentors, dict(granularity=granularity), **parts)
    assert step(model, *pose_batch(2, codec_name=form), device) == 1


@devices
def test_mentors_of_other_classes_and_precision(device):
    mentors = [
        entry(classifier(num_classes=7), class_map=[6, 0, 3, 2]),
        entry(classifier(16), **half(device, 'bf16')),
    ]
    assert step(distiller(classifier(), mentors), *class_batch(3), device) == 0


@devices
def test_rle_s_own_loss_reads_a_value_in_stock_training_too(device):
    """Its flow builds a MultivariateNormal in each step, which checks its arguments."""
    student = build(estimator(codec_name='rle'))
    inputs, samples = pose_batch(2, codec_name='rle')
    with pytest.raises((RuntimeError, NotImplementedError)), world(device):
        student.to(device).train()
        student.loss(inputs.to(device), [sample.to(device) for sample in samples])


@devices
@pytest.mark.parametrize('divergence', ['KLDivergence', 'DKD', 'DIST', 'StandardisedKL'])
def test_every_divergence_of_classes(divergence, device):
    model = distiller(classifier(), [classifier(16)] * 2, divergence=dict(type=divergence))
    assert step(model, *class_batch(3), device) == 0


@devices
@pytest.mark.parametrize('ranker', ['OKSRanker', 'PCKRanker', 'ConfidenceRanker'])
@pytest.mark.parametrize('divergence', ['KLDivergence', 'MSE'])
def test_every_divergence_and_ranker_of_poses(divergence, ranker, device):
    parts = dict(divergence=dict(type=divergence), ranker=dict(type=ranker))
    model = distiller(estimator(), [estimator()] * 2, **parts)
    assert step(model, *pose_batch(3), device) == 1


@devices
@pytest.mark.parametrize('options', [dict(), dict(cells='all')])
@pytest.mark.parametrize('task', ['heatmap', 'simcc', 'classes'])
def test_a_step_from_the_cache(task, options, tmp_path, device):
    if task == 'classes':
        student, mentors = classifier(), [classifier(16)] * 2
        inputs, samples = class_batch(3)
    else:
        student = estimator(codec_name=CODECS[task])
        mentors = [estimator()] * 2  # also for SimCC: the conversion is part of the step
        inputs, samples = pose_batch(3, codec_name=CODECS[task])
    model = distiller(student, mentors, cache=dict(options, dir=str(tmp_path)))
    model.prepare(samples)
    model.cache.open(list(model.mentors), inputs, len(samples), {})
    packed = [
        record_format.pack(m.output(inputs))
        for record_format, m in zip(model.cache.formats, model.mentors)
    ]
    for index, sample in enumerate(samples):
        records = [records[index].numpy() for records in packed]
        sample.set_metainfo({SHOWN: ShownView(index, 0, 0, records)})
    # The records of each mentor, and the targets of poses. All are pinned.
    assert step(model, inputs, samples, device) == len(mentors) + (task != 'classes')
    assert {p.device.type for m in model.mentors for p in m.model.parameters()} == {'cpu'}


READINGS = dict(
    item=lambda tensor: tensor.sum().item(),
    float=lambda tensor: float(tensor.sum()),
    branch=lambda tensor: 1 if tensor.sum() > 0 else 2,
    tolist=lambda tensor: tensor.tolist(),
    cpu=lambda tensor: tensor.cpu(),
    numpy=lambda tensor: tensor.detach().numpy(),
    to_the_host=lambda tensor: tensor.to('cpu'),
    nonzero=lambda tensor: tensor.nonzero(),
    mask=lambda tensor: tensor[tensor > 0],
    unique=lambda tensor: tensor.unique(),
    equal=lambda tensor: torch.equal(tensor, tensor + 1),
)
UPLOADS = dict(
    constant=lambda tensor: torch.tensor([1.0, 2.0]).to(tensor.device),
    two_devices=lambda tensor: tensor.flatten(1) @ torch.ones(tensor[0].numel(), 1),
)


@MODELS.register_module()
class ReadingKD(ClassroomKD):
    """The classroom with one reading of a value added."""

    def __init__(self, reading, **options):
        super().__init__(**options)
        self.reading = {**READINGS, **UPLOADS}[reading]

    def forward(self, student, mentors, *others):
        self.reading(mentors[0].values[0])
        return super().forward(student, mentors, *others)


@devices
@pytest.mark.parametrize('reading', READINGS)
def test_any_reading_would_be_noticed(reading, device):
    strategy = dict(type='mmkd_classroom.ReadingKD', reading=reading)
    model = distiller(classifier(), [classifier()], strategy)
    batch = class_batch(2)
    step(model, *batch, device='cpu')  # where there are values nothing is wrong with it
    model.statistics.read()
    # A download from a pretended device is no error by itself: it is counted.
    with pytest.raises((RuntimeError, NotImplementedError, TypeError, AssertionError)):
        step(model, *batch, device)


@devices
def test_a_constant_made_in_each_step_would_be_noticed(device):
    strategy = dict(type='mmkd_classroom.ReadingKD', reading='constant')
    assert step(distiller(classifier(), [classifier()], strategy), *class_batch(2), device) == 1


@pytest.mark.skipif(not PRETENDS, reason='meta tensors mix with those of the host')
@devices
def test_tensors_of_two_devices_would_be_noticed(device):
    strategy = dict(type='mmkd_classroom.ReadingKD', reading='two_devices')
    model = distiller(classifier(), [classifier()], strategy)
    with pytest.raises(RuntimeError, match='two different devices'):
        step(model, *class_batch(2), device)


@devices
def test_the_stock_accuracy_would_be_noticed(device):
    model = distiller(dict(estimator(), train_cfg=dict(compute_acc=True)), [estimator()])
    with pytest.raises((RuntimeError, NotImplementedError, TypeError, AssertionError)):
        step(model, *pose_batch(2), device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('task', ['pose', 'classes'])
@pytest.mark.parametrize('strategy', [None, *OTHERS])
def test_a_step_on_a_gpu_does_not_wait(strategy, task):
    options = OTHERS.get(strategy)
    if task == 'pose':
        model = distiller(estimator(), [estimator()] * 2, options)
        inputs, samples = pose_batch(4)
    else:
        model = distiller(classifier(), [classifier()] * 2, options)
        inputs, samples = class_batch(4)
    step(model, inputs, samples, device='cuda')  # sets up kernels and constants
    inputs, samples = inputs.cuda(), [sample.cuda() for sample in samples]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
