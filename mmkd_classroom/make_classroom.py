"""Write the config of a classroom, after a check that it can be built; or check one that is there.

The check builds the student and the mentors and prints a table of them with their cost. It needs no
data and no network. Weights in files are loaded; those with a URL are not downloaded.

Examples:
    python -m mmkd_classroom.make_classroom CLASSROOM
    python -m mmkd_classroom.make_classroom STUDENT --mentors mmpose::PATH -o classroom.py
    python -m mmkd_classroom.make_classroom STUDENT --mentors A.py=a.pth B.py=b.pth --strategy AMTML
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope

from .command import check_types, read_config, run
from .compose import CLASSROOM, add_classroom_arguments, mentor_entry, strategy_type
from .distiller import Classroom, is_classroom
from .errors import ClassroomError, each, reason
from .heads import adapter_types
from .hooks.overview import overview
from .hub import model_config
from .mentors.entry import Entry, as_entry, locate_mentors, read_entries, read_entry
from .metainfo import class_names, image_size, metainfo_of, read_metainfo

_USUAL_SIZE = (224, 224)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Write, or check, the config of a classroom')
    parser.add_argument(
        'config',
        help='stock config of the student, or, without --mentors, the config of a classroom, which '
        "is checked: a path, or 'package::path'",
    )
    add_classroom_arguments(parser)
    parser.add_argument('-o', '--out', help='file to write; by default classroom.py')
    parser.add_argument('--force', action='store_true', help='write over a file that is there')
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    run(_make)


def _make() -> None:
    args = parse_args()
    cfg = read_config(args.config)
    if is_classroom(cfg.get('model')):
        _check(cfg, args)
        return
    if args.mentors is None:
        raise ClassroomError(
            f'--mentors is missing: name at least one. ({args.config} is no classroom, which could '
            'be checked without it.)'
        )
    out = Path(args.out or 'classroom.py')
    _check_out(out, args.force)
    entries = read_mentors(args.mentors)
    strategy = None if args.strategy is None else strategy_type(args.strategy)
    text = classroom_text(args.config, entries, strategy, out)
    print(overview(*build_classroom(_load(text, out), entries)))
    with out.open('w' if args.force else 'x') as file:
        file.write(text)
    print(f'{out} is written.')


def _check(cfg: Config, args: argparse.Namespace) -> None:
    """Print the table of a classroom that is there."""
    check_types(cfg)
    if args.out is not None or args.force:
        raise ClassroomError(
            f'{args.config} is a classroom already. It is checked, and nothing is written: leave '
            '--out and --force out.'
        )
    if args.mentors is not None or args.strategy is not None:
        raise ClassroomError(
            f'{args.config} is a classroom already: leave --mentors and --strategy out to check '
            'it. These flags of `train` replace the mentors and the strategy of a classroom.'
        )
    locate_mentors(cfg)
    # The options of all heads: building the classroom rejects those that do not fit.
    options = frozenset().union(*(kind.mentor_options for kind in adapter_types()))
    entries = read_entries(cfg.model.get('mentors'), options)
    print(overview(*build_classroom(cfg, entries)))
    print(f'{args.config} can be built. Its data were not looked at.')


def _check_out(out: Path, force: bool) -> None:
    if out.suffix != '.py':
        raise ClassroomError(f'--out {out}: the name of a config ends with .py.')
    if not out.absolute().parent.is_dir():
        raise ClassroomError(f'--out {out}: there is no folder {out.parent}. Make it first.')
    if out.exists() and not force:
        raise ClassroomError(
            f'--out {out} is there already: give another name, or --force to write over it.'
        )


def read_mentors(words: Sequence[str]) -> list[Entry]:
    """Read the values of ``--mentors`` and find their files.

    Args:
        words: See :func:`mentor_entry`.

    Raises:
        ClassroomError: Values are invalid. The message has the errors of all values.
    """

    def read(word: str) -> Entry:
        key = f'--mentors {word}'
        return read_entry(as_entry(mentor_entry(word), key), key)

    return each(read, words)


def classroom_text(student: str, entries: Sequence[Entry], strategy: str | None, out: Path) -> str:
    """Write the config of a classroom as text.

    Args:
        student: Path of the student's config, or ``'package::path'``.
        entries: Entries of the mentors.
        strategy: Type of the strategy, or None for the default.
        out: File of the config. Relative paths are converted to be relative to its folder.
    """
    lines = [
        f'# Train: python -m mmkd_classroom.train {out}',
        f'_base_ = [{_rebased(student, student, out)!r}]',
        'model = dict(',
        '    _delete_=True,',
        f'    type={CLASSROOM!r},',
        '    student=_base_.model,',
        '    mentors=[',
        *(f'        {_entry_text(entry, out)},' for entry in entries),
        '    ],',
    ]
    if strategy is not None:
        lines.append(f'    strategy=dict(type={strategy!r}),')
    return '\n'.join([*lines, ')', ''])


def _entry_text(entry: Entry, out: Path) -> str:
    config, checkpoint = entry.options['config'], entry.options['checkpoint']
    if checkpoint == 'zoo':
        return repr(config)
    config = _rebased(config, entry.config.filename, out)
    if checkpoint is not None:
        checkpoint = _rebased(checkpoint, entry.checkpoint, out)
    return f'dict(config={config!r}, checkpoint={checkpoint!r})'


def _rebased(given: str, found: str, out: Path) -> str:
    """Make a path relative to the folder of a file; names, URLs and absolute paths stay."""
    if '::' in given or _is_url(given) or Path(given).is_absolute():
        return given
    return Path(os.path.relpath(found, out.absolute().parent)).as_posix()


def _is_url(checkpoint: str) -> bool:
    return '://' in checkpoint


def _load(text: str, out: Path) -> Config:
    """Load the config with MMEngine from a temporary file in its future folder."""
    with tempfile.NamedTemporaryFile('w', suffix='.py', dir=out.absolute().parent) as file:
        file.write(text)
        file.flush()
        try:
            return Config.fromfile(file.name)
        except Exception as error:  # mmengine raises a different type for each way to be wrong
            if 'lazy_import' in str(error):
                raise ClassroomError(
                    "The student's config is written with read_base(), and a text config cannot "
                    'have it as its base: train with tools/train.py STUDENT --mentors ..., or '
                    'write the classroom in the same style (docs/classroom.md).'
                ) from error
            raise ClassroomError(
                f"The student's config cannot be the base of {out} ({reason(error)})."
            ) from error


def build_classroom(cfg: Config, entries: Sequence[Entry]) -> tuple[Classroom, tuple[int, int]]:
    """Build a classroom and match its mentors' joints, without data and without network.

    Args:
        cfg: Its config.
        entries: Its mentors; those whose checkpoint is a URL get random weights.

    Returns:
        The classroom; width and height of the student's input.

    Raises:
        ClassroomError: Something does not fit.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = model_config(cfg)
    model.mentors = [_for_check(entry) for entry in entries]
    with _left_out('has random weights'):  # not those of the config
        classroom = MODELS.build(model)
    student = classroom.adapter
    if student.kind == 'classes':
        names = class_names(cfg)
        classroom.prepare([_class_sample()], dict(classes=names) if names else None)
        return classroom, image_size(cfg) or _USUAL_SIZE
    joints = student.num_items
    metainfo = read_metainfo(metainfo_of(cfg, joints), "The metainfo of the student's data set")
    classroom.prepare([_pose_sample(joints, metainfo)], metainfo)
    return classroom, student.input_size


@contextmanager
def _left_out(text: str) -> Iterator[None]:
    """Leave lines with a text out of the log."""
    logger = MMLogger.get_current_instance()

    def other(record: logging.LogRecord) -> bool:
        return text not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def _for_check(entry: Entry) -> dict[str, Any]:
    checkpoint, config = entry.checkpoint, entry.options['config']
    if checkpoint is None:
        print(f'{entry.key} has random weights: for a dry run.')
    elif _is_url(checkpoint):
        print(f'{checkpoint} is not fetched: this check takes random weights instead.')
        checkpoint = None
    if isinstance(config, str) and '::' not in config:
        config = entry.config.filename
    return dict(entry.options, config=config, checkpoint=checkpoint)


def _class_sample() -> Any:
    from mmpretrain.structures import DataSample

    return DataSample().set_gt_label(0)


def _pose_sample(joints: int, metainfo: dict[str, Any] | None) -> Any:
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    name = (metainfo or {}).get('dataset_name')
    meta = dict(dataset_name=name, input_size=(1, 1), input_scale=(1, 1))
    sample = PoseDataSample(metainfo=meta)
    sample.gt_instances = InstanceData(
        keypoints_visible=torch.ones(1, joints).numpy(),
        transformed_keypoints=torch.zeros(1, joints, 2).numpy(),
        head_size=torch.ones(1).numpy(),  # which data have is not known here
    )
    return sample


if __name__ == '__main__':
    main()
