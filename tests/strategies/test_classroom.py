"""ClassroomKD against its formula, written once more as a slow loop over samples and items."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import item_weights
from mmkd_classroom.rankers import OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.strategies import Average, ClassroomKD
from mmkd_classroom.structures import ClassTruth, KeypointTruth, Prediction
from mmkd_classroom.tasks import ClassificationTask, HeatmapTask
from mmkd_classroom.tasks.forms import HeatmapForm

SIGMAS = [0.0625, 0.09375, 0.125, 0.25]  # exact in float32, which the ranker keeps them in
CODEC = MSRAHeatmap(input_size=(32, 40), heatmap_size=(8, 10), sigma=2)
SHARPNESS = 20.0


class Classes:
    """Logits of a classroom on random labels, and what the formula needs of them."""

    def __init__(self, samples=5, classes=6, mentors=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shape = (mentors + 1, samples, classes)
        self.values = 2 * torch.randn(shape, dtype=torch.float64, generator=generator)
        self.labels = torch.randint(classes, (samples,), generator=generator)
        self.truth = ClassTruth(self.labels, torch.ones(samples, 1, dtype=torch.float64))
        self.task = ClassificationTask(TrueClassRanker())
        self.weights = [[1.0]] * samples
        self.scores = {}

    def predictions(self):
        return [Prediction(values) for values in self.values]

    def distribution(self, member, i, j):
        """Logits of the distribution that is distilled."""
        return member[i]

    def score(self, k, i, j):
        return remembered(self.scores, (k, i), lambda: self.probability(k, i))

    def probability(self, k, i):
        logits = self.values[k, i].tolist()
        return math.exp(logits[self.labels[i]]) / sum(map(math.exp, logits))

    def batch_score(self, k):
        logs = [math.log(self.score(k, i, 0)) for i in range(len(self.labels))]
        return math.exp(sum(logs) / len(logs))

    def right(self, k, i):
        return self.values[k, i].argmax() == self.labels[i]

    def task_losses(self, student):
        return F.cross_entropy(student, self.labels, reduction='none')


class Poses:
    """Heatmaps of a classroom on random joints, some of them without a label."""

    def __init__(self, samples=4, joints=4, mentors=3, seed=0, ranker=None, distance='kl'):
        generator = np.random.default_rng(seed)
        width, height = CODEC.input_size
        truth = generator.uniform([4, 4], [width - 4, height - 4], (samples, joints, 2))
        maps = []
        for spread in generator.uniform(0, 6, mentors + 1):
            drawn = truth + spread * generator.normal(size=truth.shape)
            drawn = drawn.clip(0, [width - 2, height - 2]).astype(np.float32)
            maps.append([CODEC.encode(person[None])['heatmaps'] for person in drawn])
        noise = 0.05 * generator.normal(size=np.shape(maps))
        self.values = torch.from_numpy(np.array(maps) + noise)
        labelled = torch.from_numpy(generator.integers(0, 3, (samples, joints))).double()
        labelled[0] = 1
        labelled[-1] = 0  # a sample without any label
        self.labelled = labelled
        self.joints = truth
        self.area = generator.uniform(100, 800, samples)
        self.size = generator.uniform(10, 40, samples)
        self.truth = KeypointTruth(
            joints=torch.from_numpy(truth),
            weights=item_weights(labelled),
            area=torch.from_numpy(self.area),
            bbox_size=torch.from_numpy(self.size),
            head_size=None,
            metainfo=None,
        )
        self.ranker = ranker or OKSRanker(SIGMAS)
        self.distance = distance
        self.task = HeatmapTask(self.ranker, distance=distance, sharpness=SHARPNESS)
        self.weights = [
            [float(flag > 0) / max(1, int((row > 0).sum())) for flag in row] for row in labelled
        ]
        self.targets = torch.from_numpy(generator.uniform(size=self.values.shape[1:]))
        self.scores = {}

    def predictions(self):
        return [Prediction(values, HeatmapForm(CODEC)) for values in self.values]

    def distribution(self, member, i, j):
        return SHARPNESS * member[i, j].flatten()

    def score(self, k, i, j):
        return remembered(self.scores, (k, i, j), lambda: self.similarity(k, i, j))

    def similarity(self, k, i, j):
        decoded = CODEC.decode(self.values[k, i].numpy())[0][0, j]
        distance = math.dist(decoded, self.joints[i, j])
        if isinstance(self.ranker, PCKRanker):
            return float(distance / self.size[i] < self.ranker.thr)
        return math.exp(-(distance**2) / (2 * self.area[i] * (2 * SIGMAS[j]) ** 2))

    def sample_score(self, k, i):
        return sum(w * self.score(k, i, j) for j, w in enumerate(self.weights[i]))

    def batch_score(self, k):
        return np.mean([self.sample_score(k, i) for i in range(len(self.weights))])

    def right(self, k, i):
        return self.sample_score(k, i) >= 0.5

    def task_losses(self, student):
        return ((student - self.targets) ** 2).mean(dim=(1, 2, 3))


def remembered(table, key, value):
    """Decoding the same heatmap again and again is what takes the time."""
    if key not in table:
        table[key] = value()
    return table[key]


def by_the_formula(room, student, options):
    """The whole loss, one sample and one item at a time."""
    mentors = range(1, len(room.values))
    samples = range(len(room.weights))
    granularity = options['granularity']

    def score(k, i, j):
        if granularity == 'batch':
            return room.batch_score(k)
        if granularity == 'keypoint':
            return room.score(k, i, j)
        return sum(w * room.score(k, i, jj) for jj, w in enumerate(room.weights[i]))

    total = 0.0
    for i in samples:
        for j, item_weight in enumerate(room.weights[i]):
            q = [score(k, i, j) for k in range(len(room.values))]
            rank = [len(mentors) * value / sum(q) if sum(q) > 0 else 0.0 for value in q]
            for m in mentors:
                if options['filter']:
                    above = rank[m] >= rank[0] if options['ties'] else rank[m] > rank[0]
                else:
                    above = True
                if options['require_correct'] and not room.right(m, i):
                    above = False
                if not above:
                    continue
                share = rank[m] if options['rank_weights'] else 1.0
                total += item_weight * share * divergence(room, student, m, i, j, rank, options)
    losses = room.task_losses(student)
    if options['task_weight'] == 'score':
        if granularity == 'batch':
            losses = losses * room.batch_score(0)
        else:
            own = [sum(w * room.score(0, i, j) for j, w in enumerate(room.weights[i]))
                   for i in samples]  # fmt: skip
            losses = losses * torch.tensor(own, dtype=torch.float64)
    return losses.mean() + options['weight'] * total / len(samples)


def divergence(room, student, m, i, j, rank, options):
    """tau_m tau_s KL, or the mean squared difference."""
    if getattr(room, 'distance', 'kl') == 'mse':
        return ((student[i, j] - room.values[m, i, j]) ** 2).mean()
    ours, theirs = room.distribution(student, i, j), room.distribution(room.values[m], i, j)
    if options['pace'] == 'gap':
        gap = max(0.0, (rank[m] - rank[0]) / rank[m]) if rank[m] > 0 else 0.0
        tau = tau_student = 1 + options['tau_max'] * gap
    elif options['pace'] == 'fixed':
        tau = tau_student = options['temperature']
    else:
        peak, peak_student = theirs.max().item(), ours.max().item()
        tau = tau_student = options['temperature']
        if peak > 0 and peak_student > 0:
            tau = 2 * peak / (peak + peak_student) * options['temperature']
            tau_student = 2 * peak_student / (peak + peak_student) * options['temperature']
    p = torch.exp(theirs / tau) / torch.exp(theirs / tau).sum()
    q = torch.exp(ours / tau_student) / torch.exp(ours / tau_student).sum()
    per_cell = ours.numel() if isinstance(room, Poses) else 1
    return tau * tau_student * (p * (torch.log(p) - torch.log(q))).sum() / per_cell


def lesson_of(room, student, options, **prediction):
    """What the strategy makes of the classroom; ``student`` replaces member 0's values."""
    strategy = ClassroomKD(**options)
    members = room.predictions()
    members[0].values = student
    losses = room.task_losses(student)
    losses = dict(loss_task=losses if strategy.weighs_samples else losses.mean())
    return strategy(members[0], members[1:], room.truth, room.task, losses)


def total(lesson):
    """As MMEngine's ``parse_losses`` sums."""
    return sum(value.mean() for name, value in lesson.losses.items() if 'loss' in name)


DEFAULTS = dict(
    weight=1.0, tau_max=4.0, granularity='sample', filter=True, ties=False, pace='gap',
    temperature=3.0, rank_weights=True, require_correct=False, task_weight='one',
)  # fmt: skip
ROOMS = dict(
    classes=Classes,
    oks=Poses,
    pck=lambda **options: Poses(ranker=PCKRanker(thr=0.1), **options),
    mse=lambda **options: Poses(distance='mse', **options),
)


@pytest.mark.parametrize(
    'room, granularity, pace',
    [
        (room, granularity, pace)
        for room in ROOMS
        for granularity in ('sample', 'batch', 'keypoint')
        for pace in ('gap', 'fixed', 'dtkd')
        if not (room == 'classes' and granularity == 'keypoint')  # they have one item a sample
        if not (room == 'mse' and pace != 'gap')  # it has no temperature
    ],
)
def test_every_combination_of_options_is_the_formula(room, granularity, pace):
    room = ROOMS[room]()
    losses = set()
    for switches in itertools.product([True, False], repeat=4):
        names = ('filter', 'ties', 'rank_weights', 'require_correct')
        options = dict(
            DEFAULTS, granularity=granularity, pace=pace, weight=0.7, **dict(zip(names, switches)),
            task_weight='score' if sum(switches) % 2 else 'one',
        )  # fmt: skip
        ours = room.values[0].clone().requires_grad_()
        loss = total(lesson_of(room, ours, options))
        loss.backward()
        reference = room.values[0].clone().requires_grad_()
        expected = by_the_formula(room, reference, options)
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9), options
        torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-7, atol=1e-12)
        losses.add(round(loss.item(), 9))
    assert len(losses) >= 4  # the switches do something on these inputs


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('room', ['classes', 'oks', 'pck'])
def test_other_random_inputs(room, seed):
    room = ROOMS[room](seed=seed + 10, mentors=1 + seed)
    options = dict(DEFAULTS, tau_max=[0.0, 1.0, 4.0, 12.0, 30.0][seed])
    loss = total(lesson_of(room, room.values[0], options))
    assert loss.item() == pytest.approx(by_the_formula(room, room.values[0], options).item())


@pytest.mark.parametrize('ties', [True, False])
def test_ties_decide_whether_an_equal_mentor_teaches(ties):
    room = Poses(ranker=PCKRanker(thr=0.1))
    room.values[1] = room.values[0] + 0.1 * torch.rand_like(room.values[0]) * (
        room.values[0] < room.values[0].amax(dim=(-2, -1), keepdim=True) / 2
    )  # other values, the same joints
    lesson = lesson_of(room, room.values[0], dict(DEFAULTS, ties=ties))
    options = dict(DEFAULTS, ties=ties)
    assert total(lesson).item() == pytest.approx(
        by_the_formula(room, room.values[0], options).item()
    )
    assert lesson.statistics['active'][0] == (1.0 if ties else 0.0)


@pytest.mark.parametrize('task_weight', ['one', 'score'])
@pytest.mark.parametrize(
    'room, granularity',
    [('classes', 'sample'), ('oks', 'sample'), ('oks', 'keypoint'), ('pck', 'keypoint')],
)
def test_a_batch_is_the_mean_of_its_samples(room, granularity, task_weight):
    room = ROOMS[room]()
    for pace, switch in itertools.product(['gap', 'fixed', 'dtkd'], [True, False]):
        options = dict(
            DEFAULTS, granularity=granularity, task_weight=task_weight, pace=pace,
            require_correct=switch, filter=not switch,
        )  # fmt: skip
        strategy = ClassroomKD(**options)
        losses = room.task_losses(room.values[0])

        def lesson(keep, strategy=strategy, losses=losses):
            members = room.predictions()
            for member in members:
                member.values, member.valid = member.values[keep], member.valid[keep]
            truth = type(room.truth)(
                **{
                    name: value[keep] if isinstance(value, torch.Tensor) else value
                    for name, value in vars(room.truth).items()
                }
            )
            own = losses[keep] if strategy.weighs_samples else losses[keep].mean()
            return total(strategy(members[0], members[1:], truth, room.task, dict(loss=own)))

        samples = len(losses)
        alone = [lesson([i]).item() for i in range(samples)]
        assert lesson(list(range(samples))).item() == pytest.approx(np.mean(alone), abs=1e-9)
        pairs = lesson([0, 1]).item()
        assert pairs == pytest.approx(np.mean(alone[:2]), abs=1e-9)
        assert np.std(alone) > 1e-3


@pytest.mark.parametrize('granularity', ['sample', 'batch', 'keypoint'])
def test_a_batch_without_any_labelled_joint_teaches_nothing(granularity):
    room = Poses()
    room.truth.weights = torch.zeros_like(room.truth.weights)
    student = room.values[0].clone().requires_grad_()
    for task_weight in ('one', 'score'):
        options = dict(DEFAULTS, granularity=granularity, task_weight=task_weight)
        lesson = lesson_of(room, student, options)
        assert lesson.losses['loss_mentors'].item() == 0
        (gradient,) = torch.autograd.grad(total(lesson), student)
        assert gradient.isfinite().all()
        assert all(value.isfinite().all() for value in lesson.statistics.values())


@pytest.mark.parametrize('granularity', ['sample', 'batch', 'keypoint'])
@pytest.mark.parametrize('ties', [True, False])
def test_nobody_scores_anything(granularity, ties):
    room = Poses(ranker=PCKRanker(thr=1e-6))
    student = room.values[0].clone().requires_grad_()
    lesson = lesson_of(room, student, dict(DEFAULTS, granularity=granularity, ties=ties))
    assert lesson.losses['loss_mentors'].item() == 0
    total(lesson).backward()
    assert student.grad.isfinite().all()
    assert all(value.isfinite().all() for value in lesson.statistics.values())
    assert lesson.statistics['score'].tolist() == [0, 0, 0]


def test_a_hopeless_classroom_of_classifiers_is_finite():
    room = Classes()
    room.values -= 2000 * F.one_hot(room.labels, 6)  # every score underflows, also in float64
    for granularity in ('sample', 'batch'):
        student = room.values[0].clone().requires_grad_()
        lesson = lesson_of(room, student, dict(DEFAULTS, granularity=granularity))
        total(lesson).backward()
        assert student.grad.isfinite().all() and total(lesson).isfinite()
        assert lesson.losses['loss_mentors'].item() == 0


def broken(room, sick):
    """Members of which mentor 0 gave no finite output on the samples ``sick``, as tasks do it."""
    members = room.predictions()
    mentor = members[1]
    mentor.values = mentor.values.clone()
    mentor.values[sick] = 0
    mentor.valid[sick] = False
    return members


@pytest.mark.parametrize(
    'room, granularity',
    [
        ('classes', 'sample'),
        ('classes', 'batch'),
        ('oks', 'sample'),
        ('oks', 'batch'),
        ('oks', 'keypoint'),
    ],
)
@pytest.mark.parametrize('switch', [True, False])
def test_a_mentor_without_finite_output_does_not_teach_there(room, granularity, switch):
    room = ROOMS[room]()
    sick = [0, 2]
    options = dict(DEFAULTS, granularity=granularity, filter=switch, ties=not switch)
    members = broken(room, sick)
    student = room.values[0].clone().requires_grad_()
    members[0].values = student
    own = room.task_losses(student).mean()
    lesson = ClassroomKD(**options)(members[0], members[1:], room.truth, room.task, dict(loss=own))
    total(lesson).backward()

    # It scores nothing there, so the others' ranks share its part, and its own term is missing. One
    # score for the batch is of the samples that it could be scored on.
    class WithoutIt(type(room)):
        def score(self, k, i, j):
            return 0.0 if k == 1 and i in sick else super().score(k, i, j)

        def batch_score(self, k):
            healthy = [i for i in range(len(self.weights)) if not (k == 1 and i in sick)]
            if isinstance(room, Classes):
                return math.exp(np.mean([math.log(self.score(k, i, 0)) for i in healthy]))
            return np.mean([self.sample_score(k, i) for i in healthy])

        def right(self, k, i):
            return not (k == 1 and i in sick)

    room.__class__ = WithoutIt
    reference = room.values[0].clone().requires_grad_()
    expected = by_the_formula(room, reference, dict(options, require_correct=True))
    expected.backward()
    assert total(lesson).item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(student.grad, reference.grad)
    assert lesson.statistics['invalid'].tolist() == [2, 0, 0]


@pytest.mark.parametrize('granularity', ['sample', 'batch'])
def test_where_the_only_mentor_is_broken_the_student_learns_alone(granularity):
    room = Classes(mentors=1)
    members = broken(room, [1, 3])
    student = room.values[0].clone().requires_grad_()
    members[0].values = student
    options = dict(DEFAULTS, granularity=granularity, filter=False)
    own = room.task_losses(student).mean()
    lesson = ClassroomKD(**options)(members[0], members[1:], room.truth, room.task, dict(loss=own))
    (taught,) = torch.autograd.grad(lesson.losses['loss_mentors'], student)
    assert taught[[1, 3]].eq(0).all()
    assert taught[[0, 2, 4]].abs().sum(-1).gt(0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('room', ['classes', 'oks'])
def test_half_precision_outputs_are_compared_in_float32(room, dtype):
    room = ROOMS[room]()
    for name, value in vars(room.truth).items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            setattr(room.truth, name, value.float())
    room.values = room.values.to(dtype)
    half = room.values[0].clone().requires_grad_()
    strategy = ClassroomKD()
    members = room.predictions()
    members[0].values = half
    lesson = strategy(members[0], members[1:], room.truth, room.task, {})
    lesson.losses['loss_mentors'].backward()
    assert lesson.losses['loss_mentors'].dtype == torch.float32
    room.values = room.values.float()
    single = room.values[0].clone().requires_grad_()
    members = room.predictions()
    members[0].values = single
    expected = strategy(members[0], members[1:], room.truth, room.task, {}).losses['loss_mentors']
    expected.backward()
    assert lesson.losses['loss_mentors'].item() == expected.item()
    torch.testing.assert_close(half.grad, single.grad.to(dtype))


def test_the_weight_is_a_factor_of_the_mentors_loss():
    room = Classes()
    losses = [
        lesson_of(room, room.values[0], dict(DEFAULTS, weight=weight)).losses
        for weight in (0.0, 1.0, 2.5)
    ]
    assert losses[0]['loss_mentors'].item() == 0
    assert losses[2]['loss_mentors'].item() == pytest.approx(2.5 * losses[1]['loss_mentors'].item())
    assert all(entry['loss_task'].item() == losses[0]['loss_task'].item() for entry in losses)


@pytest.mark.parametrize('name', ['classes', 'oks'])
def test_without_its_parts_it_is_the_average_times_the_mentors(name):
    room = ROOMS[name]()
    student, *mentors = room.predictions()
    plain = ClassroomKD(filter=False, pace='fixed', rank_weights=False, temperature=3.0)
    average = Average(weight=len(mentors), temperature=3.0)
    ours, theirs = (
        strategy(student, mentors, room.truth, room.task, {}).losses['loss_mentors'].item()
        for strategy in (plain, average)
    )
    assert ours == pytest.approx(theirs, rel=1e-12) and ours > 0


def test_only_losses_are_weighed():
    room = Classes()
    own = room.task_losses(room.values[0])
    lesson = ClassroomKD(task_weight='score')(
        room.predictions()[0], room.predictions()[1:], room.truth, room.task,
        dict(loss_a=own, decode_loss=own, accuracy=torch.tensor(0.5)),
    )  # fmt: skip
    weighed = own * torch.tensor([room.score(0, i, 0) for i in range(5)], dtype=torch.float64)
    torch.testing.assert_close(lesson.losses['loss_a'], weighed)
    torch.testing.assert_close(lesson.losses['decode_loss'], weighed)
    assert lesson.losses['accuracy'].item() == 0.5


@pytest.mark.parametrize('granularity', ['sample', 'keypoint'])
def test_statistics_are_means_over_the_labelled(granularity):
    room = Poses(seed=3)
    options = dict(DEFAULTS, granularity=granularity)
    lesson = lesson_of(room, room.values[0], options)
    sums = {name: np.zeros(3) for name in ('active', 'score', 'rank_share', 'temperature')}
    student, count = 0.0, 0.0
    for i, row in enumerate(room.weights):
        for j, w in enumerate(row):
            q = [
                room.score(k, i, j) if granularity == 'keypoint' else room.sample_score(k, i)
                for k in range(4)
            ]
            count += w
            student += w * q[0]
            for m in (1, 2, 3):
                rank, own = (3 * q[k] / sum(q) if sum(q) else 0.0 for k in (m, 0))
                gap = max(0.0, (rank - own) / rank) if rank else 0.0
                sums['active'][m - 1] += w * (rank > own)
                sums['score'][m - 1] += w * q[m]
                sums['rank_share'][m - 1] += w * rank
                sums['temperature'][m - 1] += w * (1 + 4 * gap)
    for name, value in sums.items():
        np.testing.assert_allclose(lesson.statistics[name].numpy(), value / count, rtol=1e-9)
    assert lesson.statistics['student_score'].item() == pytest.approx(student / count)
    share = lesson.losses['loss_mentors'] / total(lesson)
    assert lesson.statistics['share'].sum().item() == pytest.approx(share.item())
    assert lesson.statistics['invalid'].tolist() == [0, 0, 0]
    assert not any(value.requires_grad for value in lesson.statistics.values())


@pytest.mark.parametrize(
    'options, key',
    [
        (dict(tau_max=-1), 'tau_max'),
        (dict(tau_max=float('nan')), 'tau_max'),
        (dict(weight=-0.1), 'weight'),
        (dict(temperature=0), 'temperature'),
        (dict(granularity='samples'), 'granularity'),
        (dict(pace='slow'), 'pace'),
        (dict(task_weight='two'), 'task_weight'),
    ],
)
def test_impossible_options_are_named(options, key):
    with pytest.raises(ClassroomError, match=rf'model\.strategy\.{key} is'):
        ClassroomKD(**options)


def test_classes_have_no_keypoints():
    with pytest.raises(ClassroomError, match=r"granularity is 'keypoint'.*'sample' or 'batch'"):
        ClassroomKD(granularity='keypoint').check(ClassificationTask(TrueClassRanker()))
