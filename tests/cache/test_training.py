"""Training from a cache equals training with mentors that run, to the last bit."""

import contextlib
import copy
import os
from types import SimpleNamespace

import pytest
import runs
import torch
from mmengine.dataset import Compose, DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import TRANSFORMS, DefaultScope
from mmengine.runner import Runner

from mmkd_classroom.cache import MentorCache
from mmkd_classroom.cache.pipelines import SHOWN, check_sampler
from mmkd_classroom.cache.store import Store
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import CacheHook
from mmkd_classroom.hooks.cache import _settings
from mmkd_classroom.mentors import Mentor

EXACT = dict(cells='all', precision='fp32')
kinds = pytest.mark.parametrize('kind', ['classes', 'pose', 'simcc'])


@TRANSFORMS.register_module()
class OwnNoise:
    """A transform with a generator of its own, which no seed reaches."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, results):
        noise = torch.randint(0, 9, results['img'].shape, generator=self.generator)
        return dict(results, img=results['img'] + noise.numpy().astype('uint8'))


class Room:
    """The config of a classroom, whose data and mentors several trainings share."""

    def __init__(self, kind, folder, epochs=3, **cache):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.cfg = runs.config(kind, folder, epochs=epochs)
        self.cfg.model.cache = dict(dict(EXACT, dir=str(folder / 'cache'), views=epochs), **cache)

    def runner(self, name, workers=0, **changes) -> Runner:
        cfg = copy.deepcopy(self.cfg)
        cfg.train_dataloader.num_workers = workers
        cfg.train_dataloader.persistent_workers = workers > 0
        cfg.merge_from_dict(changes)
        cfg.work_dir = str(self.folder / name)
        cfg.experiment_name = f'{self.folder.name}_{name}'
        return Runner.from_cfg(cfg)

    def train(self, name, **options) -> torch.Tensor:
        """All weights in the end."""
        runner = self.runner(name, **options)
        runner.train()
        return weights(runner)


def weights(runner):
    return torch.cat([p.detach().flatten() for p in runner.model.state_dict().values()])


@pytest.fixture
def ran(monkeypatch):
    """The batch sizes that mentors have run on."""
    sizes, run = [], Mentor._run
    monkeypatch.setattr(Mentor, '_run', lambda self, x: sizes.append(len(x)) or run(self, x))
    return sizes


def mentors_that_run():
    """They run in each step, on the images that a training with a cache sees."""
    patch = pytest.MonkeyPatch()
    patch.setattr(MentorCache, 'predict', lambda _, mentors, x, __: [m.predict(x) for m in mentors])
    return contextlib.closing(SimpleNamespace(close=patch.undo))


@kinds
@pytest.mark.parametrize('workers', [0, 2])
def test_from_the_cache_it_is_the_same_training(kind, workers, tmp_path, fresh_runners, ran):
    room = Room(kind, tmp_path, epochs=2)
    with mentors_that_run():
        expected = room.train('online', workers=workers)
    assert torch.equal(room.train('filled', workers=workers), expected)
    ran.clear()
    cached = room.runner('cached', workers=workers)
    cached.train()
    assert torch.equal(weights(cached), expected)
    assert not ran
    assert cached.model.cache.filled() == 1


def test_mentors_without_work_stay_where_they_are(tmp_path, fresh_runners):
    """Their weights take no memory of the device."""
    room = Room('pose', tmp_path, epochs=1)
    room.train('filled')
    runner = room.runner('cached')
    runner.model.to('meta')
    devices = {p.device.type for mentor in runner.model.mentors for p in mentor.model.parameters()}
    assert devices == {'cpu'}
    runner.model.half()
    assert {p.dtype for m in runner.model.mentors for p in m.model.parameters()} == {torch.float16}


def test_mentors_that_run_are_moved_once(tmp_path, fresh_runners):
    room = Room('classes', tmp_path, epochs=1)
    (mentor, _) = room.runner('first').model.mentors
    moved = []
    apply = mentor._apply_to_model
    mentor._apply_to_model = lambda function: moved.append(1) or apply(function)
    for _ in range(2):
        with contextlib.suppress(RuntimeError, NotImplementedError):  # 'meta' reads no output
            mentor.output(torch.zeros(1, 3, 32, 32, device='meta'))
    assert moved == [1] and next(mentor.model.parameters()).device.type == 'meta'


@kinds
def test_another_strategy_and_seed_share_it(kind, tmp_path, fresh_runners, ran):
    room = Room(kind, tmp_path, epochs=1)
    room.train('filled')
    ran.clear()
    other = room.runner('other', **{'model.strategy.type': 'AVER', 'randomness.seed': 7})
    other.train()
    assert not ran


@kinds
def test_a_resumed_training_continues_from_it(kind, tmp_path, fresh_runners, ran):
    room = Room(kind, tmp_path, epochs=4)
    whole = room.train('whole')
    part = room.runner('part')
    part.register_hook(StopAfter(2))
    part.train()
    ran.clear()
    assert torch.equal(room.train('part', resume=True), whole)
    assert not ran


class StopAfter(Hook):
    def __init__(self, epochs):
        self.epochs = epochs

    def before_train_epoch(self, runner):
        if runner.epoch == self.epochs:
            runner.train_loop._max_epochs = runner.epoch
            runner.train_loop.stop_training = True


@pytest.mark.parametrize('views', [1, 2])
def test_views_come_again(views, tmp_path, fresh_runners, ran):
    room = Room('classes', tmp_path, epochs=4, views=views)
    runner = room.runner('whole')
    runner.train()
    mentors = len(runner.model.mentors)
    assert sum(ran) == mentors * (1 + views * len(runner.train_dataloader.dataset))


def test_more_views_begin_with_those_that_are_there(tmp_path, fresh_runners, monkeypatch):
    room = Room('classes', tmp_path, epochs=1, views=1)
    room.train('one')
    written, write = [], Store.write
    monkeypatch.setattr(Store, 'write', lambda self, *a: written.append(1) or write(self, *a))
    room.cfg.model.cache.views, room.cfg.train_cfg.max_epochs = 3, 3
    runner = room.runner('three')
    runner.train()
    assert len(written) == len(runner.model.mentors) * 2 * 8
    assert runner.model.cache.filled() == 1
    assert len(list((tmp_path / 'cache').glob('*/manifest.json'))) == 2


class SwitchAt(Hook):
    """Puts another pipeline in place, as RTMPose's configs do for the last epochs."""

    def __init__(self, epoch, pipeline):
        self.epoch, self.pipeline = epoch, pipeline

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            with DefaultScope.overwrite_default_scope(runner.cfg.default_scope):
                runner.train_dataloader.dataset.pipeline = Compose(self.pipeline)


@kinds
def test_a_switched_pipeline_has_views_of_its_own(kind, tmp_path, fresh_runners, ran):
    room = Room(kind, tmp_path, epochs=4, views=2)
    pipeline = copy.deepcopy(room.cfg.train_dataloader.dataset.pipeline)
    pipeline.insert(1, dict(type='RandomFlip', prob=0.5, direction='horizontal'))

    def train(name):
        runner = room.runner(name)
        runner.register_hook(SwitchAt(2, pipeline))
        runner.train()
        return weights(runner)

    first = train('first')
    samples, mentors = 8, 2
    assert sum(ran) == mentors * (2 + 4 * samples)
    ran.clear()
    assert torch.equal(train('second'), first)
    assert not ran


def test_another_order_of_channels_is_another_cache(tmp_path, fresh_runners):
    """Of the same images: it is changed after them."""
    room = Room('pose', tmp_path, epochs=1)
    room.train('first')
    preprocessor = room.cfg.model.student.data_preprocessor
    preprocessor.bgr_to_rgb = not preprocessor.get('bgr_to_rgb', False)
    room.train('second')
    folders = [path.parent for path in (tmp_path / 'cache').glob('*/manifest.json')]
    assert len(folders) == 2 * len(room.cfg.model.mentors)


def test_after_a_validation_it_is_the_same_cache():
    """The preprocessor is then in evaluation mode."""
    preprocessor = ImgDataPreprocessor(mean=[1.0], std=[2.0])
    assert _settings(preprocessor.train()) == _settings(preprocessor.eval())
    assert _settings(preprocessor) != _settings(ImgDataPreprocessor(mean=[1.5], std=[2.0]))


def test_others_may_read_what_the_umask_lets_them(tmp_path, fresh_runners):
    Room('classes', tmp_path, epochs=1).train('first')
    before = os.umask(0)
    os.umask(before)
    for path in (tmp_path / 'cache').glob('*/*'):
        assert path.stat().st_mode & 0o777 == 0o666 & ~before, path


def test_a_changed_pipeline_is_another_cache(tmp_path, fresh_runners, ran):
    room = Room('classes', tmp_path, epochs=1)
    room.train('first')
    pipeline = room.cfg.train_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='RandomFlip', prob=0.9, direction='horizontal'))
    ran.clear()
    room.train('second')
    assert len(ran) > 2
    assert len(list((tmp_path / 'cache').glob('*/manifest.json'))) == 4


@kinds
@pytest.mark.parametrize('options', [dict(precision='fp16'), dict(cells=32)])
def test_lossy_formats_teach_alike_when_filled_and_from_the_cache(
    kind, options, tmp_path, fresh_runners
):
    room = Room(kind, tmp_path, epochs=1, **options)
    assert torch.equal(room.train('filled'), room.train('cached'))


@pytest.mark.parametrize('views, warned', [(1, True), (2, False)])
def test_views_that_are_shown_too_often_are_said(views, warned, tmp_path, fresh_runners):
    room = Room('classes', tmp_path, epochs=10, views=views)
    runner = room.runner('run')
    warnings = []
    runner.logger.warning = warnings.append
    CacheHook().before_train(runner)
    assert len(warnings) == warned
    assert all('is shown 10 times' in text and 'views = 1,' in text for text in warnings)


@pytest.mark.parametrize('views, said', [(2, True), (1, False)])
def test_that_a_training_only_fills_it_is_said(views, said, tmp_path, fresh_runners):
    room = Room('classes', tmp_path, epochs=2, views=views)
    for name, expected in (('first', said), ('second', False)):
        runner = room.runner(name)
        lines = []
        runner.logger.info = lines.append
        runner.train()
        assert any('runs the mentors in every step' in line for line in lines) == expected


# --- what cannot be cached ----------------------------------------------------------------------


def refused(room, message, **changes):
    with pytest.raises(ClassroomError, match=message):
        room.runner('refused', **changes).train()


def test_a_transform_of_its_own_generator_is_named(tmp_path, fresh_runners):
    room = Room('classes', tmp_path)
    room.cfg.train_dataloader.dataset.pipeline.insert(1, dict(type='OwnNoise'))
    refused(room, r'drawings of one view of sample 0 differ: the transform OwnNoise')


def test_mixup_is_refused(tmp_path, fresh_runners):
    augments = dict(augments=dict(type='Mixup', alpha=0.8))
    room = Room('classes', tmp_path)
    preprocessor = room.cfg.data_preprocessor
    preprocessor.update(
        batch_augments=augments, num_classes=room.cfg.model.student.head.num_classes
    )
    refused(room, 'mixes the samples of a batch')


def test_mixup_that_is_turned_on_later_is_refused(tmp_path, fresh_runners):
    room = Room('classes', tmp_path)
    augments = dict(augments=dict(type='Mixup', alpha=0.8))
    recipe = dict(action_epoch=2, batch_augments=augments)
    room.cfg.custom_hooks = [dict(type='SwitchRecipeHook', schedule=[recipe])]
    refused(room, 'mixes the samples of a batch.*SwitchRecipeHook')


def test_features_are_refused(tmp_path, fresh_runners):
    room = Room('classes', tmp_path)
    room.cfg.model.strategy = dict(type='CAMKD', mentor_stages='layer2')
    refused(room, r'model\.strategy = CAMKD reads their features \(layer2\)')


@pytest.mark.parametrize(
    'wrapper, options',
    [('RepeatDataset', dict(times=2)), ('ClassBalancedDataset', dict(oversample_thr=2.0))],
)
def test_repeated_samples_are_refused(wrapper, options, tmp_path, fresh_runners):
    """They would all have the same view."""
    room = Room('classes', tmp_path)
    dataset = room.cfg.train_dataloader.dataset
    room.cfg.train_dataloader.dataset = dict(type=wrapper, dataset=dataset, **options)
    refused(room, f'has a {wrapper} that makes .* samples of')


def test_repeated_augmentation_is_refused(tmp_path, fresh_runners):
    room = Room('classes', tmp_path)
    room.cfg.train_dataloader.sampler = dict(type='RepeatAugSampler')
    refused(room, 'train_dataloader.sampler = RepeatAugSampler shows samples several times')


def test_each_process_shows_its_samples_once():
    dataset = list(range(10))
    for rank in range(4):  # with 10 samples two are shown by two processes
        sampler = DefaultSampler(dataset)
        sampler.rank, sampler.world_size = rank, 4
        sampler.num_samples, sampler.total_size = 3, 12
        check_sampler(sampler)
    check_sampler(InfiniteSampler(dataset))


@kinds
def test_a_data_set_that_is_named_twice_has_views_of_its_own(kind, tmp_path, fresh_runners):
    room = Room(kind, tmp_path, epochs=1)
    dataset = room.cfg.train_dataloader.dataset
    room.cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[dataset, dataset])
    runner = room.runner('run')
    runner.train()
    shown = [item['data_samples'].metainfo[SHOWN] for item in runner.train_dataloader.dataset]
    assert [view.sample for view in shown] == list(range(len(shown)))
    half = len(shown) // 2
    assert [v.image_crc for v in shown[:half]] != [v.image_crc for v in shown[half:]]
    assert all(record is not None for view in shown for record in view.records)


def test_training_by_iterations_is_refused(tmp_path, fresh_runners):
    room = Room('classes', tmp_path)
    room.cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
    refused(room, r'model\.cache needs training by epochs')


@pytest.mark.parametrize(
    'cache, message',
    [
        (dict(views=0), r'model\.cache\.views is 0'),
        (dict(veiws=2), r"no option 'veiws' \(did you mean 'views'\?\)"),
        (dict(precision='int8'), r"model\.cache\.precision is 'int8'"),
        (dict(cells=0), r'model\.cache\.cells is 0'),
        (dict(cells='most'), r"model\.cache\.cells is 'most'"),
        (True, r'model\.cache is True: write dict\(\)'),
    ],
)
def test_wrong_options(cache, message, tmp_path, fresh_runners):
    room = Room('pose', tmp_path)
    room.cfg.model.cache = dict(dir=str(tmp_path), **cache) if isinstance(cache, dict) else cache
    refused(room, message)


@pytest.mark.parametrize('option', [dict(cells=0), dict(cells='most'), dict(precision='int8')])
def test_wrong_values_are_found_before_the_mentors_are_built(option):
    with pytest.raises(ClassroomError, match=f'model.cache.{next(iter(option))} is'):
        MentorCache(**option)
