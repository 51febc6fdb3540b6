"""ClassroomKD against its formula, written once more as a slow loop over samples and items."""

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from members import Room, keypoint_adapter, prediction, room
from mmpose.codecs import MSRAHeatmap
from toys import build, classifier, classroom_of, estimator

from mmkd_classroom.divergences import MSE, KLDivergence
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import item_weights
from mmkd_classroom.heads import HeatmapAdapter, build_adapter
from mmkd_classroom.rankers import OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.strategies import AVER, ClassroomKD, Members
from mmkd_classroom.structures import ClassTargets, JointTargets

SIGMAS = [0.0625, 0.09375, 0.125, 0.25]  # exact in float32, which the ranker keeps them in
CODEC = MSRAHeatmap(input_size=(32, 40), heatmap_size=(8, 10), sigma=2)
SHARPNESS = 20.0
ADAPTER = keypoint_adapter(HeatmapAdapter, CODEC, 4, SHARPNESS)


class Classes:
    """Logits of a classroom on random labels, and what the formula needs of them."""

    def __init__(self, samples=5, classes=6, mentors=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shape = (mentors + 1, samples, classes)
        self.values = 2 * torch.randn(shape, dtype=torch.float64, generator=generator)
        self.labels = torch.randint(classes, (samples,), generator=generator)
        self.targets = ClassTargets(self.labels, torch.ones(samples, 1, dtype=torch.float64))
        self.ranker, self.divergence = TrueClassRanker(), KLDivergence()
        self.weights = [[1.0]] * samples
        self.scores = {}

    def members(self, student=None):
        values = [self.values[0] if student is None else student, *self.values[1:]]
        return [prediction(None, each) for each in values]

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

    def __init__(self, samples=4, joints=4, mentors=3, seed=0, ranker=None, divergence=None):
        generator = np.random.default_rng(seed)
        width, height = CODEC.input_size
        joints_of = generator.uniform([4, 4], [width - 4, height - 4], (samples, joints, 2))
        maps = []
        for spread in generator.uniform(0, 6, mentors + 1):
            drawn = joints_of + spread * generator.normal(size=joints_of.shape)
            drawn = drawn.clip(0, [width - 2, height - 2]).astype(np.float32)
            maps.append([CODEC.encode(person[None])['heatmaps'] for person in drawn])
        noise = 0.05 * generator.normal(size=np.shape(maps))
        self.values = torch.from_numpy(np.array(maps) + noise)
        labelled = torch.from_numpy(generator.integers(0, 3, (samples, joints))).double()
        labelled[0] = 1
        labelled[-1] = 0  # a sample without any label
        self.labelled = labelled
        self.joints = joints_of
        self.area = generator.uniform(100, 800, samples)
        self.size = generator.uniform(10, 40, samples)
        self.targets = JointTargets(
            joints=torch.from_numpy(joints_of),
            weights=item_weights(labelled),
            area=torch.from_numpy(self.area),
            bbox_size=torch.from_numpy(self.size),
            head_size=torch.zeros(samples, dtype=torch.float64),
        )
        self.ranker = ranker or OKSRanker(SIGMAS)
        self.divergence = divergence or KLDivergence()
        self.weights = [
            [float(flag > 0) / max(1, int((row > 0).sum())) for flag in row] for row in labelled
        ]
        self.maps = torch.from_numpy(generator.uniform(size=self.values.shape[1:]))
        self.scores = {}

    def members(self, student=None):
        values = [self.values[0] if student is None else student, *self.values[1:]]
        return [prediction(ADAPTER, each) for each in values]

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
        return np.mean([self.sample_score(k, i) for i, row in enumerate(self.weights) if any(row)])

    def right(self, k, i):
        return self.sample_score(k, i) >= 0.5

    def task_losses(self, student):
        return ((student - self.maps) ** 2).mean(dim=(1, 2, 3))


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
                share = dict(rank=rank[m], one=1.0)
                share = share[options['mentor_weights']]
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
    if isinstance(room.divergence, MSE):
        return ((student[i, j] - room.values[m, i, j]) ** 2).mean()
    ours, theirs = room.distribution(student, i, j), room.distribution(room.values[m], i, j)
    if options['temperature_mode'] == 'gap':
        gap = max(0.0, (rank[m] - rank[0]) / rank[m]) if rank[m] > 0 else 0.0
        tau = tau_student = 1 + options['tau_max'] * gap
    elif options['temperature_mode'] == 'fixed':
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


def output_of(room, student, options):
    """What the strategy makes of the classroom; ``student`` replaces member 0's values."""
    strategy = strategy_of(room, options)
    losses = room.task_losses(student)
    losses = dict(loss_task=losses if strategy.needs_per_sample_loss else losses.mean())
    return output_with(strategy, room, room.members(student), losses)


def classroomkd(options):
    """The strategy, without those options that others make useless, and which it refuses."""
    useless = ['temperature' if options.get('temperature_mode', 'gap') == 'gap' else 'tau_max']
    useless += ['ties'] * (not options.get('filter', True))
    return ClassroomKD(**{name: value for name, value in options.items() if name not in useless})


def strategy_of(room, options):
    strategy = classroomkd(options)
    strategy.build(Members(None, ['mentor'] * (len(room.values) - 1), {}, []))
    return strategy.double()


def scores_of(room):
    return room.ranker(room.members(), room.targets)


def output_with(strategy, room, members, losses):
    ready = Room(members, room.targets, room.ranker, room.divergence)
    return ready.output(strategy, losses)


def total(output):
    """As MMEngine's ``parse_losses`` sums."""
    return sum(value.mean() for name, value in output.losses.items() if 'loss' in name)


DEFAULTS = dict(
    weight=1.0, tau_max=4.0, granularity='sample', filter=True, ties=False, temperature_mode='gap',
    temperature=3.0, mentor_weights='rank', require_correct=False, task_weight='one',
)  # fmt: skip
ROOMS = dict(
    classes=Classes,
    oks=Poses,
    pck=lambda **options: Poses(ranker=PCKRanker(thr=0.1), **options),
    mse=lambda **options: Poses(divergence=MSE(), **options),
)


@pytest.mark.parametrize(
    'room, granularity, mode',
    [
        (room, granularity, mode)
        for room in ROOMS
        for granularity in ('sample', 'batch', 'keypoint')
        for mode in ('gap', 'fixed', 'dtkd')
        if not (room == 'classes' and granularity == 'keypoint')  # they have one item a sample
        if not (room == 'mse' and mode != 'gap')  # it has no temperature
    ],
)
def test_every_combination_of_options_is_the_formula(room, granularity, mode):
    room = ROOMS[room]()
    losses = set()
    bools, weightings = [True, False], ['rank', 'one']
    for *switches, weighting in itertools.product(bools, bools, bools, weightings):
        names = ('filter', 'ties', 'require_correct')
        options = dict(
            DEFAULTS, granularity=granularity, temperature_mode=mode, weight=0.7,
            **dict(zip(names, switches)), mentor_weights=weighting,
            task_weight='score' if sum(switches) % 2 else 'one',
        )  # fmt: skip
        ours = room.values[0].clone().requires_grad_()
        loss = total(output_of(room, ours, options))
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
    loss = total(output_of(room, room.values[0], options))
    assert loss.item() == pytest.approx(by_the_formula(room, room.values[0], options).item())


@pytest.mark.parametrize('ties', [True, False])
def test_ties_decide_whether_an_equal_mentor_teaches(ties):
    room = Poses(ranker=PCKRanker(thr=0.1))
    room.values[1] = room.values[0] + 0.1 * torch.rand_like(room.values[0]) * (
        room.values[0] < room.values[0].amax(dim=(-2, -1), keepdim=True) / 2
    )  # other values, the same joints
    output = output_of(room, room.values[0], dict(DEFAULTS, ties=ties))
    options = dict(DEFAULTS, ties=ties)
    assert total(output).item() == pytest.approx(
        by_the_formula(room, room.values[0], options).item()
    )
    assert output.statistics['active'][0] == (1.0 if ties else 0.0)


@pytest.mark.parametrize('task_weight', ['one', 'score'])
@pytest.mark.parametrize(
    'room, granularity',
    [('classes', 'sample'), ('oks', 'sample'), ('oks', 'keypoint'), ('pck', 'keypoint')],
)
def test_a_batch_is_the_mean_of_its_samples(room, granularity, task_weight):
    room = ROOMS[room]()
    for mode, switch in itertools.product(['gap', 'fixed', 'dtkd'], [True, False]):
        options = dict(
            DEFAULTS, granularity=granularity, task_weight=task_weight, temperature_mode=mode,
            require_correct=switch, filter=not switch,
        )  # fmt: skip
        strategy = classroomkd(options)
        losses = room.task_losses(room.values[0])

        def loss_of(keep, strategy=strategy, losses=losses):
            part = copy.copy(room)
            part.values = room.values[:, keep]
            kept = {name: value[keep] for name, value in vars(room.targets).items()}
            part.targets = type(room.targets)(**kept)
            own = losses[keep] if strategy.needs_per_sample_loss else losses[keep].mean()
            return total(output_with(strategy, part, part.members(), dict(loss=own)))

        samples = len(losses)
        alone = [loss_of([i]).item() for i in range(samples)]
        assert loss_of(list(range(samples))).item() == pytest.approx(np.mean(alone), abs=1e-9)
        pairs = loss_of([0, 1]).item()
        assert pairs == pytest.approx(np.mean(alone[:2]), abs=1e-9)
        assert np.std(alone) > 1e-3


@pytest.mark.parametrize('granularity', ['sample', 'batch', 'keypoint'])
def test_a_batch_without_any_labelled_joint_teaches_nothing(granularity):
    room = Poses()
    room.targets = replace(room.targets, weights=torch.zeros_like(room.targets.weights))
    student = room.values[0].clone().requires_grad_()
    for task_weight in ('one', 'score'):
        options = dict(DEFAULTS, granularity=granularity, task_weight=task_weight)
        output = output_of(room, student, options)
        assert output.losses['loss_mentors'].item() == 0
        (gradient,) = torch.autograd.grad(total(output), student)
        assert gradient.isfinite().all()
        assert all(value.isfinite().all() for value in output.statistics.values())


@pytest.mark.parametrize('granularity', ['sample', 'batch', 'keypoint'])
@pytest.mark.parametrize('ties', [True, False])
def test_nobody_scores_anything(granularity, ties):
    room = Poses(ranker=PCKRanker(thr=1e-6))
    student = room.values[0].clone().requires_grad_()
    output = output_of(room, student, dict(DEFAULTS, granularity=granularity, ties=ties))
    assert output.losses['loss_mentors'].item() == 0
    total(output).backward()
    assert student.grad.isfinite().all()
    assert all(value.isfinite().all() for value in output.statistics.values())
    assert output.statistics['score'].tolist() == [0, 0, 0]


def test_a_hopeless_classroom_of_classifiers_is_finite():
    room = Classes()
    room.values -= 2000 * F.one_hot(room.labels, 6)  # every score underflows, also in float64
    for granularity in ('sample', 'batch'):
        student = room.values[0].clone().requires_grad_()
        output = output_of(room, student, dict(DEFAULTS, granularity=granularity))
        total(output).backward()
        assert student.grad.isfinite().all() and total(output).isfinite()
        assert output.losses['loss_mentors'].item() == 0


def broken(room, sick, student):
    """Members of which mentor 0 gave no finite output on the samples ``sick``, as mentors do it."""
    whole, room.values = room.values, room.values.clone()
    room.values[1, sick] = 0
    members = room.members(student)
    room.values = whole
    members[1].valid[sick] = False
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
    student = room.values[0].clone().requires_grad_()
    own = room.task_losses(student).mean()
    members = broken(room, sick, student)
    output = output_with(classroomkd(options), room, members, dict(loss=own))
    total(output).backward()

    # It scores nothing there, so the others' ranks share its part, and its own term is missing. One
    # score for the batch is of the samples that it could be scored on.
    class WithoutIt(type(room)):
        def score(self, k, i, j):
            return 0.0 if k == 1 and i in sick else super().score(k, i, j)

        def batch_score(self, k):
            healthy = [i for i in range(len(self.weights)) if not (k == 1 and i in sick)]
            if isinstance(room, Classes):
                return math.exp(np.mean([math.log(self.score(k, i, 0)) for i in healthy]))
            return np.mean([self.sample_score(k, i) for i in healthy if any(self.weights[i])])

        def right(self, k, i):
            return not (k == 1 and i in sick)

    room.__class__ = WithoutIt
    reference = room.values[0].clone().requires_grad_()
    expected = by_the_formula(room, reference, dict(options, require_correct=True))
    expected.backward()
    assert total(output).item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(student.grad, reference.grad)
    assert output.statistics['invalid'].tolist() == [2, 0, 0]


@pytest.mark.parametrize('granularity', ['sample', 'batch'])
def test_where_the_only_mentor_is_broken_the_student_learns_alone(granularity):
    room = Classes(mentors=1)
    student = room.values[0].clone().requires_grad_()
    options = dict(DEFAULTS, granularity=granularity, filter=False)
    own = room.task_losses(student).mean()
    members = broken(room, [1, 3], student)
    output = output_with(classroomkd(options), room, members, dict(loss=own))
    (taught,) = torch.autograd.grad(output.losses['loss_mentors'], student)
    assert taught[[1, 3]].eq(0).all()
    assert taught[[0, 2, 4]].abs().sum(-1).gt(0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('room', ['classes', 'oks'])
def test_half_precision_outputs_are_compared_in_float32(room, dtype):
    room = ROOMS[room]()
    single = {
        name: value.float() if value.is_floating_point() else value
        for name, value in vars(room.targets).items()
    }
    room.targets = type(room.targets)(**single)
    strategy = ClassroomKD(tau_max=4.0)

    def taught(values):
        room.values = values
        student = values[0].clone().requires_grad_()
        loss = output_with(strategy, room, room.members(student), {}).losses['loss_mentors']
        loss.backward()
        return loss, student.grad

    half = room.values.to(dtype)
    loss, gradient = taught(half)
    expected, gradient_of_float = taught(half.float())
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()
    torch.testing.assert_close(gradient, gradient_of_float.to(dtype))


def test_the_weight_is_a_factor_of_the_mentors_loss():
    room = Classes()
    losses = [
        output_of(room, room.values[0], dict(DEFAULTS, weight=weight)).losses
        for weight in (0.0, 1.0, 2.5)
    ]
    assert losses[0]['loss_mentors'].item() == 0
    assert losses[2]['loss_mentors'].item() == pytest.approx(2.5 * losses[1]['loss_mentors'].item())
    assert all(entry['loss_task'].item() == losses[0]['loss_task'].item() for entry in losses)


@pytest.mark.parametrize('name', ['classes', 'oks'])
def test_without_its_parts_it_is_the_average_times_the_mentors(name):
    room = ROOMS[name]()
    members = room.members()
    plain = ClassroomKD(
        filter=False, temperature_mode='fixed', mentor_weights='one', temperature=3.0
    )
    average = AVER(weight=len(members) - 1, temperature=3.0)
    ours, theirs = (
        output_with(strategy, room, members, {}).losses['loss_mentors'].item()
        for strategy in (plain, average)
    )
    assert ours == pytest.approx(theirs, rel=1e-12) and ours > 0


def test_only_losses_are_weighed():
    room = Classes()
    own = room.task_losses(room.values[0])
    losses = dict(loss_a=own, decode_loss=own, accuracy=torch.tensor(0.5))
    strategy = ClassroomKD(task_weight='score', tau_max=4.0)
    output = output_with(strategy, room, room.members(), losses)
    weighed = own * torch.tensor([room.score(0, i, 0) for i in range(5)], dtype=torch.float64)
    torch.testing.assert_close(output.losses['loss_a'], weighed)
    torch.testing.assert_close(output.losses['decode_loss'], weighed)
    assert output.losses['accuracy'].item() == 0.5


@pytest.mark.parametrize('granularity', ['sample', 'keypoint'])
def test_statistics_are_means_over_the_labelled(granularity):
    room = Poses(seed=3)
    options = dict(DEFAULTS, granularity=granularity)
    output = output_of(room, room.values[0], options)
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
        np.testing.assert_allclose(output.statistics[name].numpy(), value / count, rtol=1e-9)
    assert output.statistics['student_score'].item() == pytest.approx(student / count)
    share = output.losses['loss_mentors'] / total(output)
    assert output.statistics['share'].sum().item() == pytest.approx(share.item())
    assert output.statistics['invalid'].tolist() == [0, 0, 0]
    assert not any(value.requires_grad for value in output.statistics.values())


@pytest.mark.parametrize(
    'options, key',
    [
        (dict(tau_max=-1), 'tau_max'),
        (dict(tau_max=float('nan')), 'tau_max'),
        (dict(weight=-0.1), 'weight'),
        (dict(temperature=0), 'temperature'),
        (dict(granularity='samples'), 'granularity'),
        (dict(temperature_mode='slow'), 'temperature_mode'),
        (dict(task_weight='two'), 'task_weight'),
    ],
)
def test_impossible_options_are_named(options, key):
    with pytest.raises(ClassroomError, match=rf'model\.strategy\.{key} is'):
        ClassroomKD(**options)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(temperature=8.0), r"temperature is 8\.0: it is not used with temperature_mode='gap'"),
        (dict(temperature_mode='fixed', tau_max=2.0), r"tau_max is 2\.0: it is not .*='fixed'"),
        (dict(temperature_mode='dtkd', tau_max=0.0), r"tau_max is 0\.0: it is not .*='dtkd'"),
        (dict(filter=False, ties=True), 'ties is True: it is not used with filter=False'),
    ],
)
def test_options_without_effect_are_refused(options, message):
    with pytest.raises(ClassroomError, match=message):
        ClassroomKD(**options)


@pytest.mark.parametrize(
    'strategy, option',
    [
        (ClassroomKD(tau_max=2.0), 'tau_max'),
        (ClassroomKD(temperature_mode='fixed', temperature=2.0), 'temperature'),
        (AVER(temperature=2.0), 'temperature'),
    ],
)
def test_a_temperature_that_the_divergence_ignores_is_refused(strategy, option):
    student = build_adapter(build(estimator()))
    with pytest.raises(ClassroomError, match=rf'{option} is 2\.0: it is not used by MSE'):
        strategy.check(student, MSE())
    strategy.check(student, KLDivergence())


@pytest.mark.parametrize('mode', ['fixed', 'dtkd'])
@pytest.mark.parametrize('kind, expected', [('classes', 4.0), ('pose', 1.0)])
def test_the_default_temperature_follows_from_the_head(mode, kind, expected):
    strategy = dict(type='mmkd_classroom.ClassroomKD', temperature_mode=mode)
    assert classroom_of(kind, **strategy).strategy.temperature == expected


def test_classes_have_no_keypoints():
    student = build_adapter(build(classifier()))
    with pytest.raises(ClassroomError, match=r"granularity is 'keypoint'.*'sample' or 'batch'"):
        ClassroomKD(granularity='keypoint').check(student, KLDivergence())


def test_scores_of_a_batch_are_those_that_are_ranked():
    """For classes the geometric mean over the samples."""
    classroom = room('classes')
    output = classroom.output(
        ClassroomKD(granularity='batch', tau_max=4.0), dict(loss_task=torch.tensor(2.0))
    )
    scores = classroom.ranker(classroom.members, classroom.targets)
    torch.testing.assert_close(output.statistics['score'], scores.batch[1:])
    torch.testing.assert_close(output.statistics['student_score'], scores.batch[0])
    assert not torch.allclose(scores.batch, scores.sample.mean(dim=1))
