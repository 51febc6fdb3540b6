"""The cache of the mentors' outputs around training."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..cache import (
    ReplayedPipeline,
    check_replayable,
    check_sampler,
    check_wrappers,
    datasets_with_pipeline,
    fingerprint,
    replay,
)
from ..distiller import Classroom
from ..environment import installed_version
from ..errors import ClassroomError
from ..evaluation import preprocess
from ..registry import HOOKS
from .classroom import classroom_of

NEEDS_EPOCHS = (
    'model.cache needs training by epochs, which give each sample its next view: use '
    'train_cfg=dict(by_epoch=True, ...), or leave model.cache out.'
)
_MIXED = (
    'model.cache keeps what mentors say of a sample, but data_preprocessor mixes the samples of a '
    'batch (batch_augments, train_cfg.augments): leave one of them out.'
)
# Students on few data were worse when views were shown as often as this (docs/caching.md).
_MANY = 10
# What draws images: another version of these may draw others.
_DRAW = ('mmcv', 'opencv-python', 'opencv-python-headless', 'numpy', 'pillow', 'albumentations')


@HOOKS.register_module()
class CacheHook(Hook):
    """Opens the cache of a classroom that has ``model.cache``, and shows each epoch its views.

    Registered by the classroom itself; without a cache it does nothing.
    """

    priority = 'LOWEST'  # after the hooks that switch pipelines

    def before_train(self, runner: Runner) -> None:
        """Refuse what cannot be cached; open the cache."""
        classroom = classroom_of(runner)
        if classroom.cache is None:
            return
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ClassroomError(NEEDS_EPOCHS)
        _check_batches(classroom)
        _check_recipes(runner)
        classroom.cache.views.epoch = runner.epoch
        self._open(runner, classroom)
        _warn_of_few_views(runner, classroom.cache.views.count)

    def before_train_epoch(self, runner: Runner) -> None:
        """Show the next view of each sample; in a pipeline that was put in place, its own."""
        classroom = classroom_of(runner)
        if classroom.cache is None:
            return
        _check_batches(classroom)  # a hook may have turned them on
        classroom.cache.views.epoch = runner.epoch
        if any(not isinstance(p, ReplayedPipeline) for p in _pipelines(_dataset(runner))):
            self._open(runner, classroom)

    def after_train_epoch(self, runner: Runner) -> None:
        """Wait until the epoch's records are on disk."""
        classroom = classroom_of(runner)
        if classroom.cache is not None:
            classroom.cache.flush()

    def after_train(self, runner: Runner) -> None:
        """Say how full it is."""
        classroom = classroom_of(runner)
        if classroom.cache is not None:
            runner.logger.info(f'Cache of the mentors: {classroom.cache.filled():.0%} filled.')

    def _open(self, runner: Runner, classroom: Classroom) -> None:
        dataset = _dataset(runner)
        check_wrappers(dataset)
        check_sampler(runner.train_dataloader.sampler)
        # The last pipeline's records are no use to this one.
        for owner, *_ in datasets_with_pipeline(dataset):
            if isinstance(owner.pipeline, ReplayedPipeline):
                owner.pipeline = owner.pipeline.pipeline
        cache = classroom.cache
        key = dict(
            pipelines=[fingerprint(pipeline) for pipeline in _pipelines(dataset)],
            annotations=[
                fingerprint(_annotations(owner)) for owner, *_ in datasets_with_pipeline(dataset)
            ],
            preprocessor=fingerprint(_settings(classroom.data_preprocessor)),
            precision=_precision(runner),
            versions=_versions(),
        )
        image, _ = preprocess(classroom, pseudo_collate([dataset[0]]))
        cache.open(list(classroom.mentors), image, len(dataset), key)
        replay(dataset, cache.views, cache.read)
        check_replayable(dataset)
        barrier()
        filled = cache.filled()
        runner.logger.info(
            f'Cache of the mentors in {cache.dir}: {cache.views.count} views of {len(dataset)} '
            f'samples, each shown {runner.max_epochs / cache.views.count:.3g} times, '
            f'{cache.size() / 2**20:.0f} MiB, {filled:.0%} filled.'
        )
        trains = getattr(runner.train_loop, 'trains', True)
        if trains and runner.max_epochs <= cache.views.count and filled == 0:
            runner.logger.info(
                f'No view is shown twice in {runner.max_epochs} epochs, so this training runs the '
                'mentors in every step. It fills the cache for the next ones.'
            )


def _warn_of_few_views(runner: Runner, views: int) -> None:
    shown = runner.max_epochs / views
    if shown >= _MANY:
        runner.logger.warning(
            f'Each view of a sample is shown {shown:.3g} times. When it was ten times, students on '
            'few data were up to 2 points worse (docs/caching.md). Raise model.cache.views = '
            f'{views}, up to the number of epochs, {runner.max_epochs}: each costs one pass of '
            'the mentors.'
        )


def _dataset(runner: Runner) -> Any:
    return runner.train_dataloader.dataset


def _pipelines(dataset: Any) -> Iterator[Any]:
    return (owner.pipeline for owner, *_ in datasets_with_pipeline(dataset))


def _annotations(dataset: Any) -> Any:
    data = getattr(dataset, 'data_bytes', None)
    return data if data is not None and len(data) else getattr(dataset, 'data_list', None)


def _settings(module: torch.nn.Module) -> dict[str, Any]:
    """What a data preprocessor does, without where it is and whether it trains."""
    # Flags such as `_channel_conversion` are private.
    plain = {
        name: value
        for name, value in vars(module).items()
        if name != 'training' and (not name.startswith('_') or isinstance(value, bool))
    }
    return dict(plain, mean=getattr(module, 'mean', None), std=getattr(module, 'std', None))


def _precision(runner: Runner) -> str:
    """Mentors without a precision of their own follow the student's."""
    wrapper = runner.optim_wrapper
    return f'{type(wrapper).__name__} {getattr(wrapper, "cast_dtype", None)}'


def _versions() -> dict[str, str]:
    return {name: version for name in _DRAW if (version := installed_version(name))}


def _check_batches(classroom: Classroom) -> None:
    """Mixup and CutMix draw partners within a batch, which is another one in each epoch."""
    if getattr(classroom.data_preprocessor, 'batch_augments', None) is not None:
        raise ClassroomError(_MIXED)


def _check_recipes(runner: Runner) -> None:
    """MMPretrain's ``SwitchRecipeHook`` turns batch augmentations on in a later epoch."""
    for hook in runner.hooks:
        recipes = getattr(hook, 'schedule', None)
        for recipe in recipes.values() if isinstance(recipes, dict) else ():
            if isinstance(recipe, dict) and recipe.get('batch_augments') is not None:
                raise ClassroomError(f'{_MIXED} See the schedule of {type(hook).__name__}.')
