#!/usr/bin/env python
"""Train a classroom on rendered people: a few minutes on a CPU, without a download.

Renders a data set of people. Two mentors are trained on all labels, and a bad one too briefly.
Three equal students have a sixth of the labels: one is alone, one is taught by the average of the
mentors, and one is in their classroom. Tests all six, prints one table and draws one picture. What
is done already is not done again.

Example:
    python demo/run.py
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CORES = os.cpu_count() or 1
# Two trainings of one thread each use two cores far better than one training of two threads.
os.environ.setdefault('OMP_NUM_THREADS', str(max(1, CORES // 2)))
os.environ['PYTHONWARNINGS'] = 'ignore'  # of the packages below; here and in every process
warnings.simplefilter('ignore')
os.environ['PYTHONPATH'] = os.pathsep.join([str(PROJECT), os.environ.get('PYTHONPATH', '')])
sys.path.insert(0, str(PROJECT))

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import MODELS, DefaultScope  # noqa: E402

from demo.coco import write_data_set  # noqa: E402
from demo.report import picture, weights  # noqa: E402
from mmkd_classroom.benchmark.jobs import JobRunner, clock, preload  # noqa: E402
from mmkd_classroom.benchmark.plan import Method, Metric, Plan  # noqa: E402
from mmkd_classroom.benchmark.runner import BenchmarkRunner  # noqa: E402
from mmkd_classroom.benchmark.runs import Run, mentor_runs, slug, student_run  # noqa: E402
from mmkd_classroom.benchmark.store import ResultStore  # noqa: E402
from mmkd_classroom.distiller import student_config  # noqa: E402
from mmkd_classroom.errors import ClassroomError  # noqa: E402
from mmkd_classroom.tables import markdown_table  # noqa: E402

AVERAGE = dict(type='mmkd_classroom.AVER')
SILENT = 5  # percent of the mentors' weight
FOUND = (
    'AR at OKS 0.5'  # the people whose joints are about right; AP, which is stricter, is small here
)
CLASSROOM = PROJECT / 'configs' / 'demo' / 'classroom_demo.py'


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--root', type=Path, default=PROJECT, help='folder for data/demo and work_dirs/demo'
    )
    parser.add_argument('--data-only', action='store_true', help='only render the data set')
    parser.add_argument('--force', action='store_true', help='do everything again')
    parser.add_argument('--train', type=int, default=2400, help='number of training pictures')
    parser.add_argument('--val', type=int, default=300, help='number of validation pictures')
    parser.add_argument('--epochs', type=int, help='number of epochs of all trainings')
    parser.add_argument(
        '--at-once', type=int, default=min(2, CORES), help='number of trainings at a time'
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Do what is not done yet, and show the results.

    Raises:
        ClassroomError: The data cannot be written, or a training failed.
    """
    start = time.monotonic()

    def log(line: str) -> None:
        print(f'[{clock(time.monotonic() - start):>5}] {line}', flush=True)

    root = args.root.resolve()
    data, work = root / 'data' / 'demo', root / 'work_dirs' / 'demo'
    log('the data set: rendered people with the 17 joints of COCO')
    is_new = write_data_set(data, args.train, args.val, force=args.force)
    log(f'{data} {"is made" if is_new else "exists already"}')
    if args.data_only:
        return
    if is_new or args.force:
        shutil.rmtree(work, ignore_errors=True)  # results of other data
    plan, store = make_plan(work, args), ResultStore(work)
    fresh = torch.cuda.is_available()
    jobs = JobRunner(root, args.at_once, log, [] if fresh else preload('mmpose'), fresh)
    runner = BenchmarkRunner(plan, store, jobs, log)
    runner.run()
    if runner.failures:
        raise ClassroomError('\n'.join(runner.failures.values()))

    students = [student_run(plan, method, seed=plan.seeds[0]) for method in plan.methods]
    record = students[-1].folder / 'train' / 'mentoring.jsonl'
    text = f'{table([*mentor_runs(plan), *students], store)}\n\n{summary(students, store, record)}'
    (work / 'table.md').write_text(text + '\n')
    predictions = {student.name: student.predictions for student in students}
    picture(work / 'demo.png', data, predictions, record)
    log(f'all done; minutes are those of training, {args.at_once} at a time')
    print(f'\n{text}\n\nThe picture: {work / "demo.png"}')


def make_plan(work: Path, args: argparse.Namespace) -> Plan:
    """The three students, with mentors whose checkpoints go to ``work``."""
    schedule = {} if args.epochs is None else {'train_cfg.max_epochs': args.epochs}
    mentors = {}
    for index, mentor in enumerate(Config.fromfile(CLASSROOM).model.mentors):
        file = f'epoch_{args.epochs}.pth' if args.epochs else Path(mentor.checkpoint).name
        mentors[f'model.mentors.{index}.checkpoint'] = str(work / slug(mentor.name) / file)
    return Plan(
        name='demo',
        classroom=str(CLASSROOM),
        methods=[
            Method('student alone', alone=True),
            Method('taught by the average', strategy=AVERAGE, options=mentors),
            Method('in the classroom', options=mentors),
        ],
        seeds=[0],
        mentor_seed=None,
        metrics=[Metric('PCK', scale=100), Metric('coco/AR .5', FOUND, scale=100)],
        options={**schedule, 'train_dataloader.dataset.indices': range(args.train // 6)},
        mentor_options=schedule,
        work_dir=str(work),
        dump=True,
        cache=Config.fromfile(CLASSROOM).model.cache,
    )


def table(runs: list[Run], store: ResultStore) -> str:
    """Labels, parameters, results and training time of each model."""
    rows = []
    for run in runs:
        cfg, result = student_config(run.cfg), store.find(run.run_id)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            parameters = sum(value.numel() for value in MODELS.build(cfg.model).parameters())
        labels = cfg.train_dataloader.dataset.get('indices')
        rows.append(
            [
                run.title if run.is_mentor else run.name,
                'all' if labels is None else str(len(labels)),
                f'{parameters / 1e6:.2f} M',
                f'{100 * result["metrics"]["PCK"]:.1f}',
                f'{100 * result["metrics"]["coco/AR .5"]:.1f}',
                f'{result["seconds"] / 60:.1f}',
            ]
        )
    return markdown_table(['model', 'labels', 'parameters', 'PCK', FOUND, 'minutes'], rows)


def summary(students: list[Run], store: ResultStore, record: Path) -> str:
    """What the classroom gained, and which mentors it silenced when."""
    alone, average, taught = (
        100 * store.find(student.run_id)['metrics']['PCK'] for student in students
    )
    lines = [
        f'In the classroom the student gained {taught - alone:+.1f} PCK over the student alone, '
        f'and {taught - average:+.1f} over the average of the same mentors.'
    ]
    records = [json.loads(line) for line in record.read_text().splitlines()]
    parts = [weights(record) for record in records]
    for name in records[0]['mentors']:
        shares = [100 * part[name] for part in parts]
        first, last = shares[0], shares[-1]
        line = f"{name} had {first:.0f} % of the mentors' weight at first, {last:.0f} % in the end"
        loud = [index for index, share in enumerate(shares) if share >= SILENT]
        if last < SILENT:
            epoch = records[loud[-1] + 1]['epoch'] if loud else 1
            line += f': from epoch {epoch} on it was silenced, with less than {SILENT} %'
        lines.append(f'{line}.')
    return '\n'.join(lines)


if __name__ == '__main__':
    # Stop the trainings at SIGTERM as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(parse_args())
    except ClassroomError as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('\ninterrupted; what is done is kept for the next time') from None
