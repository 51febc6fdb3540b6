"""Pipelines whose views can be drawn again, and the data sets that they are put into."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from ..errors import ClassroomError
from .views import Views

#: Name of the field of a sample's metainfo that has its :class:`ShownView`.
SHOWN = 'classroom_view'
_OFFSET = 'classroom_offset'


@dataclass
class ShownView:
    """What a sample shows in this epoch.

    Attributes:
        sample: Index of the sample that the data set really returned, over all data sets.
        view: Index of the view.
        image_crc: CRC-32 of the image.
        records: The record of each mentor, as bytes, or None where it is not in the cache.
    """

    sample: int
    view: int
    image_crc: int
    records: list[np.ndarray | None] = field(default_factory=list)

    def __deepcopy__(self, memo: dict) -> 'ShownView':
        return self  # a sample's metainfo is copied whenever the sample is; nobody changes this


#: Gives the records of a sample's view: ``(sample, view, image_crc) -> records``.
Reader = Callable[[int, int, int], list[np.ndarray | None]]


class ReplayedPipeline:
    """Takes the place of a data set's pipeline.

    Args:
        pipeline: The stock pipeline.
        views: Which view to draw.
        offset: Index of the data set's first sample among all.
        reader: Gives the records of a view; None only marks the samples with ``offset``, for the
            inner data sets of a ``CombinedDataset``, whose own pipeline comes after theirs.
    """

    def __init__(
        self, pipeline: Callable, views: Views, offset: int, reader: Reader | None = None
    ) -> None:
        self.pipeline = pipeline
        self.views = views
        self.offset = offset
        self.reader = reader

    @property
    def transforms(self) -> list:
        """Those of the stock pipeline."""
        return self.pipeline.transforms

    def __call__(self, data_info: dict[str, Any]) -> dict[str, Any] | None:
        """Run the pipeline.

        Args:
            data_info: Of MMEngine's data sets, with ``sample_idx``.

        Returns:
            What the pipeline returns, with a :class:`ShownView` in the sample's metainfo; None if
            it returns None.

        Raises:
            ClassroomError: A record is of another image.
        """
        sample = data_info.get(_OFFSET, self.offset) + data_info['sample_idx']
        view = self.views.view(sample)
        with self.views.drawing(sample, view, self.pipeline):
            results = self.pipeline(data_info)
        if results is None:  # the data set takes another sample
            return None
        if self.reader is None:
            results[_OFFSET] = self.offset
            return results
        image_crc = checksum(results['inputs'])
        shown = ShownView(sample, view, image_crc, self.reader(sample, view, image_crc))
        results['data_samples'].set_metainfo({SHOWN: shown})
        return results


def checksum(image: torch.Tensor) -> int:
    """CRC-32 of an image."""
    return zlib.crc32(np.ascontiguousarray(image.numpy()))


def replay(dataset: Any, views: Views, reader: Reader) -> None:
    """Put replayed pipelines into a data set, or into those that it wraps.

    Pipelines that are replayed already stay; others may have taken their place, as RTMPose's
    configs do for the last epochs.

    Args:
        dataset: A data set of MMEngine's, or a wrapper of some.
        views: Which views to draw.
        reader: See :class:`ReplayedPipeline`.
    """
    for owner, offset, inner in datasets_with_pipeline(dataset):
        if not isinstance(owner.pipeline, ReplayedPipeline):
            own = None if inner else reader
            owner.pipeline = ReplayedPipeline(owner.pipeline, views, offset, own)


def datasets_with_pipeline(
    dataset: Any, offset: int = 0, inner: bool = False
) -> Iterator[tuple[Any, int, bool]]:
    """The data sets with a pipeline, their first index, and whether another pipeline follows."""
    own = hasattr(dataset, 'pipeline')
    if own:
        yield dataset, offset, inner
    for part in _wrapped(dataset):
        yield from datasets_with_pipeline(part, offset, inner or own)
        offset += len(part)


def check_wrappers(dataset: Any) -> None:
    """Check that an epoch shows each sample once: all repeats would have the same view.

    Args:
        dataset: A data set of MMEngine's, or a wrapper of some.

    Raises:
        ClassroomError: A wrapper repeats samples, or leaves some out.
    """
    parts = _wrapped(dataset)
    samples = sum(map(len, parts))
    if parts and len(dataset) != samples:
        raise ClassroomError(
            'model.cache gives each sample one view in an epoch, but train_dataloader.dataset has '
            f'a {type(dataset).__name__} that makes {len(dataset)} samples of {samples}. Use a '
            'ConcatDataset or CombinedDataset that names a data set as often as it is repeated, '
            'without sample_ratio_factor, or train without a cache.'
        )
    for part in parts:
        check_wrappers(part)


def check_sampler(sampler: Any) -> None:
    """Check that an epoch shows each sample once: all repeats would be the same image.

    Args:
        sampler: Sampler of the training data.

    Raises:
        ClassroomError: It repeats samples, as MMPretrain's ``RepeatAugSampler`` does.
    """
    with torch.random.fork_rng(devices=[]):
        indices = list(islice(sampler, len(sampler)))
    # RepeatAugSampler gives the repeats to different processes.
    if len(set(indices)) < len(indices) or getattr(sampler, 'num_repeats', 1) > 1:
        raise ClassroomError(
            'model.cache gives each sample one view in an epoch, but train_dataloader.sampler = '
            f'{type(sampler).__name__} shows samples several times: use DefaultSampler, or train '
            'without a cache.'
        )


def _wrapped(dataset: Any) -> list[Any]:
    parts = getattr(dataset, 'datasets', None)
    return [dataset.dataset] if parts is None and hasattr(dataset, 'dataset') else parts or []


def check_replayable(dataset: Any, samples: int = 4) -> None:
    """Draw the same views twice.

    Args:
        dataset: With replayed pipelines.
        samples: How many samples are tried.

    Raises:
        ClassroomError: Two images of one view differ; names the transform, where it is found.
    """
    for index in np.linspace(0, len(dataset) - 1, samples).astype(int):
        shown = [dataset[int(index)]['data_samples'].metainfo[SHOWN] for _ in range(2)]
        if shown[0].sample == shown[1].sample and shown[0].image_crc != shown[1].image_crc:
            raise ClassroomError(
                'model.cache needs images that can be drawn again, but two drawings of one view '
                f'of sample {index} differ: {_culprit(dataset, int(index))} of '
                'train_dataloader.dataset.pipeline has random numbers of its own. Take it out, '
                'or train without a cache.'
            )


def _culprit(dataset: Any, index: int) -> str:
    """The first transform after which two drawings differ."""
    for owner, _, inner in datasets_with_pipeline(dataset):
        if inner or index >= len(owner):
            continue
        replayed = owner.pipeline
        transforms = replayed.transforms
        for count in range(1, len(transforms) + 1):
            drawn = []
            for _ in range(2):
                results = owner.get_data_info(index)
                sample = results.get('sample_idx', index)
                with replayed.views.drawing(sample, 0, replayed.pipeline):
                    for transform in transforms[:count]:
                        results = transform(results)
                drawn.append(results)
            images = [r.get('img', r.get('inputs')) for r in drawn]
            if not np.array_equal(*(np.asarray(image) for image in images)):
                return f'the transform {type(transforms[count - 1]).__name__}'
    return 'a transform'
