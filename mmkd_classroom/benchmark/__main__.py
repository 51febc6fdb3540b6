"""Compare methods: train and test each method of a plan with each seed.

Mentors without a checkpoint are trained first, once. Each finished run adds a line to results.jsonl
in the plan's folder. If the command is started again, after an interruption or with a longer plan,
it does only the missing runs. At the end it writes PLAN.md, with tables of results and costs,
PLAN.csv, with the result of each run, and PLAN.png. If a run fails, its logs are kept in failed/,
the other runs continue, and the exit code is 1. Paths of data and checkpoints are relative to the
current directory, as in train. Of several plans, the methods that all have are ranked.

Examples:
    python -m mmkd_classroom.benchmark configs/benchmarks/lspet_cpu.py
    python -m mmkd_classroom.benchmark configs/benchmarks/lspet.py --gpus 0 1 2 3
    python -m mmkd_classroom.benchmark configs/benchmarks/lspet_cpu.py --report
    python -m mmkd_classroom.benchmark configs/benchmarks/lspet_cpu.py --report --baseline AVER
    python -m mmkd_classroom.benchmark PLAN_A.py PLAN_B.py
"""

import argparse
import os
import signal
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from mmengine.config import DictAction

from ..command import positive
from ..errors import ClassroomError
from ..hub import config_file
from .jobs import JobRunner, clock, preload
from .plan import Plan, read_plan
from .ranking import ranking
from .report import Results, plot, report, save_runs
from .runner import BenchmarkRunner
from .store import ResultStore, locked

CORES = os.cpu_count() or 1


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('plan', nargs='+', help="path of a plan, or 'package::path'")
    parser.add_argument('--work-dir', help="takes runs and results, in place of a plan's folder")
    parser.add_argument(
        '--gpus', nargs='+', help='as CUDA_VISIBLE_DEVICES names them; by default all there are'
    )
    parser.add_argument(
        '--at-once',
        type=positive,
        help='number of runs at a time; by default one a GPU, or, without a GPU, one for each of '
        'up to two cores. Times are comparable where each run has its machine or GPU to itself',
    )
    parser.add_argument('--report', action='store_true', help='run nothing, show what is there')
    parser.add_argument(
        '--baseline', help="the method that gains and costs are relative to, in place of the plan's"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='changes to the plan, as key=value, such as seeds="[0,1]"',
    )
    return parser.parse_intermixed_args()


def slots(args: argparse.Namespace) -> list[dict[str, str]]:
    """Environment variables of each of the parallel runs."""
    gpus = args.gpus or visible_gpus()
    at_once = args.at_once or len(gpus) or min(2, CORES)
    # Runs that all use every core are slower than runs that share the cores.
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, CORES // at_once)))
    if not gpus:
        return [{}] * at_once
    return [{'CUDA_VISIBLE_DEVICES': gpus[index % len(gpus)]} for index in range(at_once)]


def visible_gpus() -> list[str]:
    """Names of the usable GPUs, for CUDA_VISIBLE_DEVICES."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    return named.split(',') if named else [str(n) for n in range(torch.cuda.device_count())]


def run(plan: Plan, args: argparse.Namespace) -> tuple[Results, bool]:
    """Do all runs without a result, and report all results.

    Returns:
        The results, and whether the plan is complete.
    """
    start = time.monotonic()

    def log(line: str) -> None:
        print(f'[{clock(time.monotonic() - start):>5}] {line}', flush=True)

    store = ResultStore(plan.folder)
    failures = {}
    if not args.report:
        fresh = torch.cuda.is_available()
        imported = ['mmkd_classroom.benchmark.runner', 'mmkd_classroom.benchmark.report']
        if not fresh:
            imported += preload(plan.classroom_config.get('default_scope', 'mmengine'))
        jobs = JobRunner(Path.cwd(), slots(args), log, imported, fresh)
        runner = BenchmarkRunner(plan, store, jobs, log)
        log(f'{plan.name}: results go to {store.path}')
        runner.run()
        failures = runner.failures
    results = Results.load(plan, store)
    text = report(results)
    (plan.folder / f'{plan.name}.md').write_text(text)
    save_runs(results, plan.folder / f'{plan.name}.csv')
    plot(results, plan.folder / f'{plan.name}.png')
    print(f'\n{text}\nThe plot: {plan.folder / plan.name}.png')
    for title, message in failures.items():
        print(f'\nFAILED {title}\n{message}', file=sys.stderr)
    return results, not results.missing and not failures


def main() -> None:
    """Run the command."""
    os.environ.setdefault('PYTHONWARNINGS', 'ignore')  # for all packages, in every process
    warnings.simplefilter('ignore')
    # Stop the trainings at SIGTERM as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _benchmark()
    except ClassroomError as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('\ninterrupted; what is done is kept for the next time') from None


def _benchmark() -> None:
    args = parse_args()
    changes = dict(args.cfg_options)
    if args.work_dir:
        changes['work_dir'] = args.work_dir
    if args.baseline:
        changes['baseline'] = args.baseline
    plans = [read_plan(config_file(plan, 'The plan'), changes) for plan in args.plan]
    ended = []
    for plan in plans:
        plan.folder.mkdir(parents=True, exist_ok=True)
        # A report only reads results, so it works while a benchmark runs.
        with nullcontext() if args.report else locked(plan.folder):
            ended.append(run(plan, args))
    if len(plans) > 1:
        print(f'\n{ranking([results for results, _ in ended])}')
    raise SystemExit(0 if all(complete for _, complete in ended) else 1)


if __name__ == '__main__':
    main()
