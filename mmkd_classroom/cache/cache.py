"""The cache of a classroom: mentors' outputs, stored by sample and view, instead of mentors."""

import hashlib
import json
import math
import resource
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from ..errors import ClassroomError, reason, shown
from ..json_files import read_json
from ..mentors import Mentor
from ..structures import Prediction
from .pipelines import SHOWN, ShownView
from .record_format import VERSION, RecordFormat, check_precision
from .store import Store
from .views import SCHEME, Views
from .writer import Writer

DEFAULT_DIR = 'work_dirs/mentor_cache'
DEFAULT_VIEWS = 8
_CELLS = 32
_LARGEST = 2**40  # of a manifest's numbers, and of their products


class MentorCache:
    """Lets mentors run once per view of a sample.

    Args:
        dir: Folder of the caches. Each lies in a folder of its own, which is named after all that
            could change a record: a change of the pipeline, the data or a mentor is another cache.
        views: V, number of views of a sample. Caches with fewer and more views share records.
        seed: Seed of the views. It is not that of a run: runs with other seeds share a cache.
        cells: How many of the largest values of each distribution are stored, with one value for
            the others, or ``'all'``. By default 32 of a heatmap and of the logits of more than
            1,000 classes, and all of a SimCC axis, whose mass is spread over more. Fewer logits are
            always all stored.
        precision: ``'fp16'`` or ``'fp32'``, of the stored values. Joints are always float32.

    Raises:
        ClassroomError: An option has a value that it cannot have.
    """

    def __init__(
        self,
        dir: str = DEFAULT_DIR,
        views: int = DEFAULT_VIEWS,
        seed: int = 0,
        cells: int | str | None = None,
        precision: str = 'fp16',
    ) -> None:
        if not (cells in (None, 'all') or isinstance(cells, int) and cells >= 1):
            raise ClassroomError(
                f"model.cache.cells is {cells!r}: give a number of at least 1, or 'all'."
            )
        check_precision(precision)
        self.dir = Path(dir)
        self.cells = cells
        self.precision = precision
        self.views = Views(views, seed)
        self.formats: list[RecordFormat] = []
        self.stores: list[list[Store]] = []
        self._writer = Writer()

    def __deepcopy__(self, memo: dict) -> 'MentorCache':
        return self  # the average of a classroom needs no second one

    # --- before training -------------------------------------------------------------------------

    def open(
        self, mentors: Sequence[Mentor], inputs: Tensor, samples: int, key: dict[str, Any]
    ) -> None:
        """Open the cache of these mentors and data; make it where there is none.

        Args:
            mentors: The mentors. Those of which there is no cache yet run once.
            inputs: A batch of the student's, for the shapes of their outputs.
            samples: Number of samples of the data.
            key: Other settings that determine the images, for JSON.

        Raises:
            ClassroomError: The disk has no space for what is missing, or what is there is damaged.
        """
        self.formats, self.stores = [], []
        for mentor in mentors:
            folder, shape = self._folder(mentor, inputs, dict(key, samples=samples))
            record_format = RecordFormat(
                **shape, **self._format(mentor), cells=self._cells(**shape)
            )
            self.formats.append(record_format)
            self.stores.append(
                [
                    Store(folder / f'view_{v}', samples, record_format.size)
                    for v in range(self.views.count)
                ]
            )
        missing = sum(
            store.bytes for stores in self.stores for store in stores if not store.path.exists()
        )
        _allow_files(len(mentors) * self.views.count)
        free = shutil.disk_usage(self.dir).free
        if missing > free:
            raise ClassroomError(
                f'model.cache needs {_gigabytes(missing)} more in {self.dir}, which has '
                f'{_gigabytes(free)} free: make space, give another model.cache.dir, or take fewer '
                'views or cells.'
            )

    def _format(self, mentor: Mentor) -> dict[str, Any]:
        return dict(factor=mentor.output_adapter.factor, precision=self.precision)

    def _cells(self, shapes: Sequence[Sequence[int]], joints: int | None) -> int | None:
        """How many cells of each distribution are stored; None stores all."""
        if self.cells == 'all' or (joints is None and shapes[0][-1] <= 1000):
            return None
        axes = joints is not None and len(shapes[0]) == 2
        return self.cells if self.cells is not None or axes else _CELLS

    def _folder(
        self, mentor: Mentor, inputs: Tensor, key: dict[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        """The folder of one mentor's records, and the shape of its outputs.

        Its manifest says what decides on the records. It has the shape, too, so that a mentor whose
        records are all there need not run.
        """
        content = dict(
            key,
            mentor=mentor.settings(),
            record=dict(self._format(mentor), cells=self.cells, version=VERSION),
            seed=[SCHEME, self.views.seed],
        )
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        path = self.dir / f'{mentor.name}-{digest}' / 'manifest.json'
        if path.exists():
            return path.parent, read_manifest(path)['shape']
        shape = RecordFormat.shape_of(mentor.output(inputs))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f'{path.name}.{uuid4().hex}')  # several processes may write it
        draft.write_text(json.dumps(dict(content, shape=shape), indent=1, sort_keys=True))
        draft.replace(path)
        return path.parent, shape

    def size(self) -> int:
        """Bytes of all records."""
        return sum(store.bytes for stores in self.stores for store in stores)

    def filled(self) -> float:
        """Share of the records that are there."""
        stores = [store for stores in self.stores for store in stores]
        return sum(s.count() for s in stores) / sum(s.samples for s in stores)

    # --- in the loading workers ------------------------------------------------------------------

    def read(self, sample: int, view: int, image_crc: int) -> list[np.ndarray | None]:
        """Read the record of each mentor for a sample's view.

        Args:
            sample: Index of the sample.
            view: Index of the view.
            image_crc: CRC-32 of the image that is shown.

        Returns:
            For each mentor ``(size,)`` bytes, or None where the record is missing.

        Raises:
            ClassroomError: A record is of another image.
        """
        return [stores[view].read(sample, image_crc) for stores in self.stores]

    # --- in the training step --------------------------------------------------------------------

    def predict(
        self,
        mentors: Sequence[Mentor],
        inputs: Tensor,
        data_samples: Sequence[Any],
        missing_only: bool = False,
    ) -> list[Prediction]:
        """Each mentor's prediction: from the records that came with the samples, or by itself.

        Outputs are packed and unpacked also while the cache is filled, so the student sees the same
        rounded values whether or not a record was there.

        Args:
            mentors: The mentors.
            inputs: The student's batch ``(N, 3, H, W)``.
            data_samples: N samples from replayed pipelines.
            missing_only: Leave out the mentors whose records are all there.

        Returns:
            One prediction for each mentor that is not left out.

        Raises:
            ClassroomError: A record could not be written.
        """
        shown: list[ShownView] = [sample.metainfo[SHOWN] for sample in data_samples]
        predictions = []
        for index, (mentor, record_format) in enumerate(zip(mentors, self.formats)):
            records = [each.records[index] for each in shown]
            if all(record is not None for record in records):
                if missing_only:
                    continue
                host = torch.from_numpy(np.stack(records))
                if inputs.device.type == 'cuda':
                    host = host.pin_memory()
                packed = host.to(inputs.device, non_blocking=True)
            else:
                packed = record_format.pack(mentor.output(inputs))
                self._write(index, shown, packed)
            predictions.append(mentor.output_adapter.predict(record_format.unpack(packed)))
        return predictions

    def _write(self, mentor: int, shown: Sequence[ShownView], packed: Tensor) -> None:
        stores = self.stores[mentor]
        missing = [row for row, each in enumerate(shown) if each.records[mentor] is None]

        def write(row: int, payload: np.ndarray) -> None:
            each = shown[row]
            stores[each.view].write(each.sample, each.image_crc, payload)

        self._writer.write(packed, missing, write)

    def flush(self) -> None:
        """Wait until all records are on disk."""
        self._writer.flush()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a cache: number of ``samples``, and ``shape``, the arguments of its format.

    Raises:
        ClassroomError: It is damaged, or its numbers are those of no cache.
    """
    try:
        manifest = read_json(path)
        shape = manifest['shape']
        joints = [] if shape['joints'] is None else [[shape['joints']]]
        for sizes in [[manifest['samples']], *joints, *shape['shapes']]:
            if not all(type(size) is int and size > 0 for size in sizes):
                raise ValueError(f'{shown(sizes)} are no sizes')
            if math.prod(sizes) > _LARGEST:
                raise ValueError(f'{shown(sizes)} is too large')
        if set(shape) != {'shapes', 'joints'} or not all(len(each) > 1 for each in shape['shapes']):
            raise ValueError(f'{shown(shape)} is the shape of no output')
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ClassroomError(
            f'{path} is damaged ({reason(error)}): remove {path.parent}; its records will be made '
            'anew.'
        ) from error
    return manifest


def _allow_files(count: int) -> None:
    """Raise the limit of open files by a number, as far as a process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    needed = soft + count if hard == resource.RLIM_INFINITY else min(soft + count, hard)
    with suppress(ValueError, OSError):  # then a store says it, if it cannot be opened
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _gigabytes(count: int) -> str:
    return f'{count / 2**30:.2f} GiB'
