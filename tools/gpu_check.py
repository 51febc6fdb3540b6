#!/usr/bin/env python
"""Check on a machine with GPUs that classrooms train there as they should, and measure them.

Each part runs in its own process, so a crash or a hang of one does not end the others. The table is
printed, and written as `report.md` beside `results.json` and the logs into a new folder below
--out. The exit code is 0 if no part failed. Weights are random and images are generated, so
nothing is downloaded.

Examples:
    python tools/gpu_check.py                       # on all GPUs, minutes
    python tools/gpu_check.py --parts step-waits ddp
    python tools/gpu_check.py --device cpu          # small, what has a meaning without a GPU
"""

import argparse
import contextlib
import copy
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import _common  # noqa: F401
import torch
from benchmark_step import build, classrooms, generated_batch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import set_random_seed
from torch import Tensor

from mmkd_classroom.distiller import Classroom
from mmkd_classroom.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
# Heatmaps, classes, and mentors of another head and input size.
CONFIGS = dict(
    cuda=('pose', 'classes', 'mixed'),
    cpu=(
        str(ROOT / 'configs/classroomkd/resnet18_lspet_cpu.py'),
        str(ROOT / 'configs/classroomkd/resnet8_cifar10_cpu.py'),
    ),
)
BATCH_SIZE = dict(cuda=8, cpu=2)
RESULT = 'result: '
PASS, FAIL, SKIPPED = 'pass', 'FAIL', 'skipped'


class Skip(Exception):
    """A part has no meaning here; the message says why."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', choices=CONFIGS, default='cuda')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS), metavar='PART',
                        help=', '.join(PARTS))  # fmt: skip
    parser.add_argument('--time-limit', type=float, default=1800, help='seconds for a part')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'))
    parser.add_argument('--child', choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts and write the report."""
    args = parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that parts end too
    if args.device == 'cuda' and not torch.cuda.is_available():
        print(
            f'error: torch {torch.__version__} sees no GPU here; --device cpu checks what has a '
            'meaning without one.',
            file=sys.stderr,
        )
        return 2
    if args.child:
        print(RESULT + json.dumps(outcome(PARTS[args.child], args.device)), flush=True)
        return 0
    folder = args.out / time.strftime('%Y%m%d_%H%M%S')
    folder.mkdir(parents=True)
    results = []
    for name in args.parts:
        print(f'{name} ...', flush=True)
        results.append(run_part(name, args, folder))
        write(results, folder, args.device)
    print('\n' + (folder / 'report.md').read_text() + f'\nWritten to {folder}.')
    return int(any(result['outcome'] == FAIL for result in results))


# --- the processes -------------------------------------------------------------------------------


def outcome(part: Callable[[str], list[str]], device: str) -> dict[str, Any]:
    """Run one part in this process."""
    try:
        return dict(outcome=PASS, said=part(device))
    except Skip as reason:
        return dict(outcome=SKIPPED, said=[str(reason)])
    except Exception as error:
        traceback.print_exc()
        return dict(outcome=FAIL, said=[f'{type(error).__name__}: {error}'.splitlines()[0]])


def run_part(name: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one part in a process of its own, with a time limit."""
    command = [sys.executable, __file__, '--device', args.device, '--child', name]
    start = time.monotonic()
    log = folder / f'{name}.log'
    with log.open('w') as file:
        # A session of its own, so that its children end with it.
        child = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(args.time_limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    results = re.findall(f'^{RESULT}(.*)$', log.read_text(errors='replace'), re.M)
    if code == 0 and results:
        found = json.loads(results[-1])
    else:
        ended = f'took longer than {args.time_limit:g} s' if code is None else f'ended with {code}'
        if code is not None and code < 0:
            ended = f'was ended by {signal.Signals(-code).name}'
        found = dict(outcome=FAIL, said=[f'its process {ended}, see {log.name}'])
    return dict(part=name, seconds=round(time.monotonic() - start, 1), **found)


def write(results: list[dict[str, Any]], folder: Path, device: str) -> None:
    """Write what is there so far: the report and its values."""
    machine = describe(device)
    (folder / 'results.json').write_text(
        json.dumps(dict(machine=machine, parts=results), indent=2) + '\n'
    )
    rows = [
        [r['part'], r['outcome'], '<br>'.join(r['said']).replace('|', '\\|'), f'{r["seconds"]:.0f}']
        for r in results
    ]
    lines = [f'- {name}: {value}' for name, value in machine.items()]
    body = markdown_table(['part', 'outcome', 'what was seen', 'seconds'], rows)
    (folder / 'report.md').write_text('\n'.join(['# GPU check', '', *lines, '', body, '']))


def describe(device: str) -> dict[str, str]:
    """The machine, and the versions that matter."""
    found = dict(
        date=time.strftime('%Y-%m-%d'), python=sys.version.split()[0], torch=torch.__version__
    )
    if device == 'cpu':
        return dict(found, device=f'CPU, {torch.get_num_threads()} threads')
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    names = [f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB' for gpu in gpus]
    return dict(
        found,
        device='; '.join(names),
        cuda=str(torch.version.cuda),
        cudnn=str(torch.backends.cudnn.version()),
        nccl='.'.join(map(str, torch.cuda.nccl.version())),
    )


# --- the parts -----------------------------------------------------------------------------------


def room(
    name: str,
    device: str,
    batch_size: int | None = None,
    mentor: dict[str, Any] | None = None,
    **optim_wrapper: Any,
) -> tuple[str, Classroom, OptimWrapper, dict]:
    """One classroom with the same weights in each call, its optimizer and a batch.

    Args:
        name: A preset of benchmark_step.py, or a config.
        device: ``'cuda'`` or ``'cpu'``.
        batch_size: By default that of the device.
        mentor: Options of each mentor.
        optim_wrapper: Options of the config's ``optim_wrapper``.
    """
    ((_, cfg),) = classrooms(name).items()
    cfg.train_dataloader.batch_size = batch_size or BATCH_SIZE[device]
    cfg.optim_wrapper.update(optim_wrapper)
    cfg.model.mentors = [dict(entry, **(mentor or {})) for entry in cfg.model.mentors]
    set_random_seed(0)  # also NumPy's, which draws the augmentation
    classroom, optimizer = build(cfg, device)
    batch = generated_batch(cfg, getattr(classroom.head, 'num_classes', 0))
    classroom.prepare(batch['data_samples'])
    return Path(name).stem, classroom, optimizer, batch


def gpu_tests(device: str) -> list[str]:
    """The tests that need a GPU."""
    if device == 'cpu':
        raise Skip('they need a GPU')
    command = [sys.executable, '-m', 'pytest', '-m', 'gpu', '-p', 'no:cacheprovider', '-rfE']
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    done = subprocess.run(
        [*command, str(ROOT / 'tests')],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr)
    counts = dict(reversed(pair) for pair in re.findall(r'(\d+) (passed|failed|errors?|skipped)',
                                                        done.stdout.splitlines()[-1]))  # fmt: skip
    # A skipped one is a GPU that pytest did not find.
    if done.returncode or 'skipped' in counts or 'passed' not in counts:
        raise AssertionError(done.stdout.splitlines()[-1].strip('= '))
    return [f'{counts["passed"]} passed']


def step_waits(device: str) -> list[str]:
    """A step, by torch's own alarm for operations that wait for the GPU."""
    if device == 'cpu':
        raise Skip('a CPU has no queue to wait for; tests/test_no_sync.py counts readings there')
    said = []
    for name in CONFIGS[device]:
        short, classroom, optimizer, batch = room(name, device)
        # The first steps set up kernels, constants and the optimizer's state.
        data = classroom.data_preprocessor(batch, True)
        for alarm in ('default', 'default', 'error'):
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode(alarm)
            try:
                loss, _ = classroom.parse_losses(classroom(**data, mode='loss'))
                loss.backward()
                optimizer.optimizer.step()
                optimizer.optimizer.zero_grad()
            finally:
                torch.cuda.set_sync_debug_mode('default')
        said.append(f'{short}: nothing waits (torch.cuda.set_sync_debug_mode)')
    return said


def amp(device: str, dtype: str) -> list[str]:
    """Ten steps in mixed precision: the first loss is about that of float32, all are finite."""
    wrapper = dict(type='AmpOptimWrapper', dtype=dtype, loss_scale='dynamic')
    if device == 'cpu':
        if dtype == 'float16':
            raise Skip('--amp on a CPU is bfloat16')
        wrapper = dict(type='mmkd_classroom.Bf16OptimWrapper')
    elif dtype == 'bfloat16' and not torch.cuda.is_bf16_supported():
        raise Skip('this GPU has no bfloat16')
    elif dtype == 'bfloat16':
        wrapper['loss_scale'] = 1.0  # it has the range of float32
    said = []
    for name in CONFIGS[device]:
        _, classroom, optimizer, batch = room(name, device)
        expected = first_losses(classroom, optimizer, batch)
        short, classroom, optimizer, batch = room(name, device, **wrapper)
        found = first_losses(classroom, optimizer, batch)
        for key, value in expected.items():
            # Rounding may change ranks, and with them who teaches: stock losses are compared.
            if key.startswith('loss') and key != 'loss_mentors':
                message = f'{short}: {key} is {found[key]:.4g}, in float32 {value:.4g}'
                assert math.isclose(found[key], value, rel_tol=0.05), message
        totals = [float(classroom.train_step(batch, optimizer)['loss']) for _ in range(10)]
        assert all(map(math.isfinite, totals)), f'{short}: losses {totals}'
        tensors = classroom.state_dict().values()
        assert all(t.isfinite().all() for t in tensors if t.is_floating_point()), (
            f'{short}: weights that are not finite'
        )
        said.append(f'{short}: loss {totals[0]:.4g}, after 10 steps {totals[-1]:.4g}')
    return said


def first_losses(classroom: Classroom, optimizer: OptimWrapper, batch: dict) -> dict[str, float]:
    """The losses by name, without a step."""
    with torch.no_grad(), optimizer.optim_context(classroom):
        data = classroom.data_preprocessor(batch, True)
        losses = copy.deepcopy(classroom)(**data, mode='loss')
    return {
        name: float(value.mean()) for name, value in losses.items() if isinstance(value, Tensor)
    }


def ddp(device: str) -> list[str]:
    """All GPUs with NCCL (two processes with gloo on a CPU) against one process.

    Not with SimCC, whose stock loss is a sum over the samples of a process.
    """
    processes = 2 if device == 'cpu' else torch.cuda.device_count()
    if processes == 1:
        raise Skip('one GPU; it takes two')
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
        free.close()
        torch.multiprocessing.spawn(
            ddp_process, (processes, port, device, CONFIGS[device][:2], folder), nprocs=processes
        )
        return json.loads((Path(folder) / 'said.json').read_text())


def ddp_process(
    rank: int, processes: int, port: int, device: str, configs: Sequence[str], folder: str
) -> None:
    """What each process does: its share of the batch, and all of it as one process would."""
    if device == 'cuda':
        torch.cuda.set_device(rank)
    # Before the processes know each other, so that each has the whole batch.
    built = [room(name, device, batch_size=2 * processes) for name in configs]
    backend = dict(cuda='nccl', cpu='gloo')[device]
    torch.distributed.init_process_group(
        backend,
        init_method=f'tcp://127.0.0.1:{port}',
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=300),
    )
    said = []
    for short, classroom, _, batch in built:
        # In float64, and with BatchNorm, which joins samples, at rest: equal but for rounding.
        classroom.double().eval()
        data = classroom.data_preprocessor(batch, True)
        inputs = data['inputs'].double()
        samples = [in_float64(sample) for sample in data['data_samples']]
        loss, _ = classroom.parse_losses(classroom(inputs, samples, mode='loss'))
        loss.backward()
        expected, expected_loss = gradient(classroom), loss.detach()
        classroom.zero_grad()
        wrapped = MMDistributedDataParallel(
            classroom,
            device_ids=[rank] if device == 'cuda' else None,
            find_unused_parameters=False,
            broadcast_buffers=False,
        )
        mine = slice(2 * rank, 2 * rank + 2)
        loss, _ = classroom.parse_losses(wrapped(inputs[mine], samples[mine], mode='loss'))
        loss.backward()
        mean = loss.detach().clone()
        torch.distributed.all_reduce(mean)
        difference = float((gradient(classroom) - expected).norm() / expected.norm())
        assert difference < 1e-6, f'{short}: gradients differ by {difference:.1e}'
        off = float((mean / processes - expected_loss).abs() / expected_loss.abs())
        assert off < 1e-6, f'{short}: losses differ by {off:.1e}'
        said.append(
            f'{short}: {processes} processes ({backend}) give the gradient of one '
            f'(differs by {difference:.0e})'
        )
    if rank == 0:
        (Path(folder) / 'said.json').write_text(json.dumps(said))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def in_float64(sample: Any) -> Any:
    """A sample of poses in float64; labels of classes are whole numbers and stay."""
    return sample.to(torch.float64) if 'gt_instance_labels' in sample else sample


def gradient(classroom: Classroom) -> Tensor:
    """All gradients as one vector."""
    return torch.cat([p.grad.flatten() for p in classroom.parameters() if p.grad is not None])


def compiled(device: str) -> list[str]:
    """Mentors with ``compile=True`` say what they say without."""
    said = []
    for name in CONFIGS[device][:2]:
        short, classroom, _, batch = room(name, device)
        data = classroom.data_preprocessor(batch, True)
        expected = classroom.mentors.predict(data['inputs'])
        _, classroom, _, _ = room(name, device, mentor=dict(compile=True))
        start = time.monotonic()
        found = classroom.mentors.predict(data['inputs'])
        seconds = time.monotonic() - start
        for one, other in zip(found, expected):
            torch.testing.assert_close(one.values[0], other.values[0], rtol=1e-2, atol=1e-3)
        said.append(f'{short}: {len(found)} mentors compile in {seconds:.0f} s and say the same')
    return said


def step_cost(device: str) -> list[str]:
    """The cost of a step, and its peak of memory, by benchmark_step.py."""
    options = ['--device', device, *(['--rounds', '2', '--warm-up', '1'] * (device == 'cpu'))]
    wanted = r'^(?:ratio|peak memory).*$'
    said = []
    for name in CONFIGS[device]:
        for more in ([], ['--amp']):
            lines = tool('benchmark_step', name, *options, *more, wanted=wanted, device=device)
            said += [f'{Path(name).stem}{" --amp" * bool(more)}: {line}' for line in lines]
    return said


def epoch_cost(device: str) -> list[str]:
    """Samples per second alone, with mentors and from the cache, by benchmark_cache.py."""
    options = ['--samples', '256', '--batch-size', '32', '--rounds', '3']
    if device == 'cpu':
        options = ['--samples', '8', '--batch-size', '4', '--rounds', '1', '--online-rounds', '1']
    said = []
    for name in CONFIGS[device][:2]:
        lines = tool(
            'benchmark_cache',
            name,
            *options,
            wanted=r'^(?:\d+ samples|samples/s).*$',
            device=device,
        )
        said += [f'{Path(name).stem}: {line}' for line in lines]
    return said


def tool(script: str, *arguments: str, wanted: str, device: str) -> list[str]:
    """Run another tool, and return the lines that are wanted."""
    hidden = dict(CUDA_VISIBLE_DEVICES='') if device == 'cpu' else {}  # the Runner takes a GPU
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / f'{script}.py'), *arguments],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
    )
    print(done.stdout, done.stderr, flush=True)
    if done.returncode:
        raise AssertionError(f'{script} {" ".join(arguments)}: {done.stderr.strip()[-300:]}')
    return re.findall(wanted, done.stdout, re.M)


PARTS: dict[str, Callable[[str], list[str]]] = {
    'tests': gpu_tests,
    'step-waits': step_waits,
    'amp-fp16': lambda device: amp(device, 'float16'),
    'amp-bf16': lambda device: amp(device, 'bfloat16'),
    'ddp': ddp,
    'compile': compiled,
    'step-cost': step_cost,
    'epoch-cost': epoch_cost,
}

if __name__ == '__main__':
    sys.exit(main())
