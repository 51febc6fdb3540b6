"""Write the report of a classroom: one HTML file that shows who taught what.

Examples:
    python -m mmkd_classroom.report WORK_DIR
    python -m mmkd_classroom.report WORK_DIR --alone WORK_DIR_OF_THE_STUDENT_ALONE
    python -m mmkd_classroom.report FIRST_WORK_DIR RESUMED_WORK_DIR --out report.html
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

from ..checkpoints import register_safe_loader
from ..command import run
from ..errors import ClassroomError


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Write the report of a classroom')
    parser.add_argument(
        'work_dirs', nargs='+', metavar='WORK_DIR', help='of the training; several if resumed'
    )
    parser.add_argument('--alone', metavar='WORK_DIR', help="of the same student's training alone")
    parser.add_argument(
        '--samples',
        type=int,
        default=1024,
        help='training samples to run the classroom on, and validation samples to score its '
        'members on; 0 builds no model (%(default)s)',
    )
    parser.add_argument('--out', help='HTML file to write (WORK_DIR/report.html)')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    run(_main)


def _main() -> None:
    args = parse_args()
    missing = [name for name in ('jinja2', 'matplotlib', 'plotly') if find_spec(name) is None]
    if missing:
        raise ClassroomError(
            f'A report needs {", ".join(missing)}: pip install {" ".join(missing)}'
        )
    register_safe_loader()
    from .page import write_report  # needs the packages

    out = args.out or Path(args.work_dirs[-1]) / 'report.html'
    path = write_report(args.work_dirs, out, args.alone, args.samples)
    print(f'{path} ({path.stat().st_size / 2**20:.1f} MiB)')


if __name__ == '__main__':
    main()
