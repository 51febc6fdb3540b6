"""Metainfo of data sets: names and sigmas of joints, names of classes, image sizes."""

import re
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry

from .errors import ClassroomError, shown
from .joint_sets import common_names
from .options import type_name

# A name that ends in a number; and stems that only mean "point".
_NUMBERED = re.compile(r'(?P<stem>.*?)\d+')
_POINT = re.compile(
    r'(.*[\W_])?(kpts?|kps?|key[\W_]?points?|points?|pts?|joints?|landmarks?|lmk?s?|markers?)[\W_]*'
    r'|[\W_]*',
    re.IGNORECASE,
)
# No finger, leg or back has more joints. Up to this number of points, the number is the position
# along a limb, as in ``thumb4``.
_LIMB = 5


class Names(tuple):
    """Names of a data set's joints: a tuple of strings.

    Attributes:
        keys: One key per joint. The key of a name is the name. A numbered name such as ``kpt-12``
            is only meaningful within its series, so its key also contains the series: all its
            points and their mirrored points. If no point of the series is mirrored, the key
            contains the name of the data set, too.
        points: The point of the body of each joint: its common name in ``joint_sets.py``, else its
            key. Joints with equal points match.
    """

    keys: tuple[Hashable, ...]
    points: tuple[Hashable, ...]

    def __new__(
        cls,
        names: Iterable[str],
        keys: Iterable[Hashable] | None = None,
        points: Iterable[Hashable] | None = None,
    ) -> 'Names':
        """Default keys and points: those of ``names`` if it has any, else the names and keys."""
        self = super().__new__(cls, names)
        self.keys = tuple(keys or getattr(names, 'keys', self))
        self.points = tuple(points or getattr(names, 'points', self.keys))
        return self


# Transforms that give all images the same size, and their option for this size.
_SIZES = {
    'CenterCrop': 'crop_size',
    'EfficientNetCenterCrop': 'crop_size',
    'EfficientNetRandomCrop': 'scale',
    'RandomCrop': 'crop_size',
    'RandomResizedCrop': 'scale',
    'Resize': 'scale',
}


def joint_names(metainfo: dict | str | None, key: str) -> Names | None:
    """Names of a data set's joints.

    Args:
        metainfo: Metainfo in MMPose's format (``dict(from_file=...)`` or a full definition), the
            name of one of MMPose's data sets, such as ``'coco'``, or None.
        key: Config key, for messages.

    Raises:
        ClassroomError: It cannot be read.
    """
    meta = read_metainfo(metainfo, key)
    if meta is None:
        return None
    names, keys = tuple(meta['keypoint_id2name'].values()), _match_keys(meta)
    common = common_names(meta['dataset_name'], names)
    return Names(names, keys, [common.get(name, key) for name, key in zip(names, keys)])


def _match_keys(meta: dict[str, Any]) -> list[Hashable]:
    """See :attr:`Names.keys`."""
    names = meta['keypoint_id2name']
    mirrored = {name: names[other] for name, other in zip(names.values(), meta['flip_indices'])}
    series = defaultdict(set)
    for name, other in mirrored.items():
        if numbered := _NUMBERED.fullmatch(name):
            series[numbered['stem']].add((name, other))
    keys: dict[str, Hashable] = {}
    for stem, points in series.items():
        if len(points) > _LIMB or _POINT.fullmatch(stem):
            symmetric = any(name != other for name, other in points)
            origin = None if symmetric else meta['dataset_name']
            keys.update({name: (name, frozenset(points), origin) for name, _ in points})
    return [keys.get(name, name) for name in names.values()]


def read_metainfo(metainfo: dict | str | None, key: str) -> dict[str, Any] | None:
    """MMPose's parsed definition of a data set; see :func:`joint_names`."""
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    if not isinstance(metainfo, (dict, str, type(None))):
        raise ClassroomError(
            f"{key} = {metainfo!r} is no definition of a data set: name one of MMPose's, such as "
            "'coco', or give dict(from_file=...)."
        )
    if metainfo is None:
        return None
    if 'keypoint_id2name' in metainfo:  # parsed already
        _check_order(metainfo, key)
        return metainfo
    definition = metainfo
    if isinstance(metainfo, str):
        path = metainfo if metainfo.endswith('.py') else f'configs/_base_/datasets/{metainfo}.py'
        definition = dict(from_file=path)
    try:
        with warnings.catch_warnings():
            # MMPose warns that it uses its own definitions, which is intended here.
            warnings.simplefilter('ignore')
            meta = parse_pose_metainfo(dict(definition))
    except (FileNotFoundError, OSError, KeyError, AssertionError) as error:
        raise ClassroomError(
            f'{key} = {metainfo!r} is no definition of a data set ({type(error).__name__}: '
            f"{error}): name one of MMPose's, such as 'coco', or give dict(from_file=...)."
        ) from error
    _check_order(meta, key)
    return meta


def _check_order(meta: dict[str, Any], key: str) -> None:
    """Check that joints are defined in the order of their ids, as MMPose itself assumes."""
    ids = list(meta['keypoint_id2name'])
    if ids != list(range(len(ids))):
        raise ClassroomError(
            f'{key}: the joints of the data set {meta["dataset_name"]!r} have the ids '
            f'{shown(ids)}, in this order. MMPose takes their order for that of the ids, so '
            'flipped images would have wrong joints: write keypoint_info in the order of the ids.'
        )


def metainfo_of(config: Config, joints: int) -> dict | None:
    """Return the metainfo of the data set in a pose config, or None if it has none.

    If there are several data sets, such as COCO with AI Challenger for training and COCO for
    validation, return the first one with the model's number of joints.
    """
    from mmpose.registry import DATASETS

    found = [
        dataset.get('metainfo') or _class_metainfo(dataset, DATASETS, 'mmpose')
        for dataset in _datasets(config)
    ]
    found = [metainfo for metainfo in found if metainfo]
    fitting = (m for m in found if len(joint_names(m, 'metainfo') or ()) == joints)
    return next(fitting, found[0] if found else None)


def class_names(config: Config) -> Sequence[str] | None:
    """Class names of the data set in a classifier's config, or None if they are not known."""
    from mmpretrain.registry import DATASETS

    for dataset in _datasets(config):
        for metainfo in (
            dataset.get('metainfo'),
            _class_metainfo(dataset, DATASETS, 'mmpretrain'),
        ):
            if (metainfo or {}).get('classes'):
                return metainfo['classes']
    return None


def image_size(config: Config) -> tuple[int, int] | None:
    """Width and height of the test images in a classifier's config, or None if not known.

    If the test pipeline does not resize images, as for CIFAR, the training pipeline is used.
    """
    for dataset in _datasets(config):
        for step in reversed(dataset.get('pipeline') or []):
            if not isinstance(step, dict):
                continue
            size = step.get(_SIZES.get(type_name(step)))
            if size is not None and not step.get('keep_ratio'):
                size = (size, size) if isinstance(size, int) else tuple(size)
                # The order of these is height, width.
                return size[::-1] if type_name(step).startswith('Random') else size
    return None


def nested_datasets(dataset: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """A data set's config and, if it is a wrapper, those that it wraps, with their keys."""
    if not isinstance(dataset, dict):
        return
    yield key, dataset
    yield from nested_datasets(dataset.get('dataset'), f'{key}.dataset')
    inner = dataset.get('datasets')
    for index, part in enumerate(inner if isinstance(inner, (list, tuple)) else ()):
        yield from nested_datasets(part, f'{key}.datasets[{index}]')


def _datasets(config: Config) -> Iterator[dict]:
    """Configs of all data sets; a wrapper comes before the data sets that it wraps."""
    for loader in ('val_dataloader', 'test_dataloader', 'train_dataloader'):
        loader = config.get(loader)
        if isinstance(loader, dict):
            yield from (part for _, part in nested_datasets(loader.get('dataset')))


def _class_metainfo(dataset: dict, registry: Registry, scope: str) -> dict | None:
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DefaultScope.overwrite_default_scope(scope):
            kind = registry.get(kind)
    if hasattr(kind, '_check_subset_and_metainfo'):
        # DeepFashionDataset overwrites METAINFO of its class when it is built. A subclass keeps
        # the original class unchanged.
        kind = type(kind.__name__, (kind,), {})
        kind._check_subset_and_metainfo(dataset.get('subset', ''))
    return getattr(kind, 'METAINFO', None)
