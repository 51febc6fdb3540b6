#!/usr/bin/env python
"""The whole of it in a few minutes on a CPU, without a download.

Renders a data set of people, trains three mentors of different strength, a student alone and the
same student in their classroom (same schedule and seed), evaluates all five, prints one table and
draws one picture. What is there already is not done again.

Example:
    python tools/demo.py
"""

import argparse
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

from mmkd_classroom.benchmark.jobs import ToolError, Workshop, clock, preload  # noqa: E402
from mmkd_classroom.benchmark.ledger import Ledger  # noqa: E402
from mmkd_classroom.demo.coco import write_data_set  # noqa: E402
from mmkd_classroom.demo.members import Member, members  # noqa: E402
from mmkd_classroom.demo.report import picture, table  # noqa: E402
from mmkd_classroom.errors import ClassroomError  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--root', type=Path, default=PROJECT, help='folder that takes data/demo and work_dirs/demo'
    )
    parser.add_argument('--force', action='store_true', help='do all again')
    parser.add_argument('--train', type=int, default=2400, help='number of training pictures')
    parser.add_argument('--val', type=int, default=300, help='number of validation pictures')
    parser.add_argument('--epochs', type=int, help="of every training, in place of the configs'")
    parser.add_argument(
        '--at-once', type=int, default=min(2, CORES), help='number of trainings at a time'
    )
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Do what is not done yet, then show the results."""
    start = time.monotonic()

    def say(line: str) -> None:
        print(f'[{clock(time.monotonic() - start):>5}] {line}', flush=True)

    root = args.root.resolve()
    data, work = root / 'data' / 'demo', root / 'work_dirs' / 'demo'
    say('the data set: rendered people with the 17 joints of COCO')
    made = write_data_set(data, args.train, args.val, force=args.force)
    say(f'{data} {"is made" if made else "was there"}')
    everyone = members(work, data, args.epochs)
    if args.force:
        shutil.rmtree(work, ignore_errors=True)
    fresh = torch.cuda.is_available()
    workshop = Workshop(root, args.at_once, say, [] if fresh else preload('mmpose'), fresh)
    ledger = Ledger(work)
    train(everyone, ledger, workshop, say)

    text = table([member.row(ledger.find(member.run.made_from)) for member in everyone])
    (work / 'table.md').write_text(text + '\n')
    *_, alone, taught = everyone
    shown = {member.title: member.run.predictions for member in (alone, taught)}
    picture(work / 'demo.png', data, shown, taught.mentoring)
    say(f'all done; minutes are those of training, {args.at_once} at a time')
    print(f'\n{text}\n\nThe picture: {work / "demo.png"}')


def train(everyone: list[Member], ledger: Ledger, workshop: Workshop, say) -> None:
    """Train and test those who have no result yet, mentors before their students."""
    jobs = {}
    for member in everyone:
        if ledger.find(member.run.made_from):
            say(f'{member.title}: was there')
        else:
            job = member.run.job(ledger.add)
            job.needs = [jobs[mentor.title] for mentor in member.mentors if mentor.title in jobs]
            jobs[member.title] = job
    workshop.run(list(jobs.values()))


if __name__ == '__main__':
    # So that the trainings end with us, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(parse_args())
    except (ClassroomError, ToolError) as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('\ninterrupted; what is done is kept for the next time') from None
