"""What data sets tell of themselves: names and sigmas of joints, names of classes, image sizes."""

import re
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry

from .errors import ClassroomError
from .options import type_name

# A name that ends in a number, and what says no more than that it is a point.
_NUMBERED = re.compile(r'(?P<stem>.*?)\d+')
_POINT = re.compile(
    r'(.*[\W_])?(kpts?|kps?|key[\W_]?points?|points?|pts?|joints?|landmarks?|lmk?s?|markers?)[\W_]*'
    r'|[\W_]*',
    re.IGNORECASE,
)
# No finger, leg or back has more joints: up to here a number counts along a limb (``thumb4``).
_LIMB = 5


class Names(tuple):
    """Names of a data set's joints: a tuple of strings.

    Attributes:
        keys: What to match each by. A name stands for itself. A number such as ``kpt-12`` says
            nothing alone: it stands for the same point only in the same series, one with as many
            points that are mirrored alike. Where no point is mirrored, two series that look alike
            may still differ, so there they must be of one data set, too.
    """

    keys: tuple[Hashable, ...]

    def __new__(cls, names: Iterable[str], keys: Iterable[Hashable] | None = None) -> 'Names':
        """By default the keys are those of ``names``, or the names themselves."""
        self = super().__new__(cls, names)
        self.keys = tuple(keys or getattr(names, 'keys', self))
        return self


# Transforms that give every image one size, and their option that says it.
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
        metainfo: As MMPose writes it (``dict(from_file=...)`` or a full definition), the name of
            one of MMPose's data sets, such as ``'coco'``, or None.
        key: Config key, for messages.

    Raises:
        ClassroomError: It cannot be read.
    """
    meta = read_metainfo(metainfo, key)
    return None if meta is None else Names(meta['keypoint_id2name'].values(), _match_keys(meta))


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
    if metainfo is None or 'keypoint_id2name' in metainfo:  # parsed already
        return metainfo
    definition = metainfo
    if isinstance(metainfo, str):
        path = metainfo if metainfo.endswith('.py') else f'configs/_base_/datasets/{metainfo}.py'
        definition = dict(from_file=path)
    try:
        with warnings.catch_warnings():
            # MMPose says that it looks among its own definitions, which is what is wanted.
            warnings.simplefilter('ignore')
            return parse_pose_metainfo(dict(definition))
    except (FileNotFoundError, OSError, KeyError, AssertionError) as error:
        raise ClassroomError(
            f'{key} = {metainfo!r} is no definition of a data set ({type(error).__name__}: '
            f"{error}): name one of MMPose's, such as 'coco', or give dict(from_file=...)."
        ) from error


def metainfo_of(config: Config, joints: int) -> dict | None:
    """The metainfo of the data set that a pose config names, or None where it names none.

    Of several, such as COCO and AI Challenger in one to train on and COCO to validate, the first
    with the model's number of joints.
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
    """Names of the classes of the data set that a classifier's config names, if it does."""
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
    """Width and height of the images that a classifier's config tests it with, if it says so.

    Where it tests images as they are, as of CIFAR, those that it trains with.
    """
    for dataset in _datasets(config):
        for step in reversed(dataset.get('pipeline') or []):
            size = step.get(_SIZES.get(type_name(step)))
            if size is not None and not step.get('keep_ratio'):
                size = (size, size) if isinstance(size, int) else tuple(size)
                return (
                    size[::-1] if type_name(step).startswith('Random') else size
                )  # these say height first
    return None


def _datasets(config: Config) -> Iterator[dict]:
    """The configs of all data sets, each wrapper before what it wraps."""
    for loader in ('val_dataloader', 'test_dataloader', 'train_dataloader'):
        dataset = (config.get(loader) or {}).get('dataset')
        while dataset is not None:
            yield dataset
            dataset = dataset.get('dataset')


def _class_metainfo(dataset: dict, registry: Registry, scope: str) -> dict | None:
    kind = dataset.get('type')
    if isinstance(kind, str):
        with DefaultScope.overwrite_default_scope(scope):
            kind = registry.get(kind)
    if hasattr(kind, '_check_subset_and_metainfo'):
        # DeepFashionDataset sets its class's METAINFO to that of the subset built last: let it set
        # that of a class of its own.
        kind = type(kind.__name__, (kind,), {})
        kind._check_subset_and_metainfo(dataset.get('subset', ''))
    return getattr(kind, 'METAINFO', None)
