"""Make the demo's data set: rendered people with COCO's 17 joints, in COCO's format.

Example:
    python tools/make_demo_data.py data/demo --train 2400 --val 300 --seed 0
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works uninstalled, too

from mmkd_classroom.demo.coco import write_data_set  # noqa: E402
from mmkd_classroom.errors import ClassroomError  # noqa: E402


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help="the data set's folder")
    parser.add_argument('--train', type=int, default=2400, help='number of training pictures')
    parser.add_argument('--val', type=int, default=300, help='number of validation pictures')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same pictures')
    parser.add_argument('--force', action='store_true', help='replace a different demo set in OUT')
    return parser.parse_args()


def main() -> None:
    """Make the set, or say that it is there."""
    args = parse_args()
    try:
        made = write_data_set(args.out, args.train, args.val, args.seed, args.force)
    except ClassroomError as error:
        sys.exit(f'error: {error}')
    print(f'{args.out}: {"made" if made else "already there"}')


if __name__ == '__main__':
    main()
