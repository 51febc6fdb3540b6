"""The running advantage against its formula, over several steps."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import KINDS, room
from toys import SETTINGS, classroom_of

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import advantage_weights
from mmkd_classroom.strategies import AVER, Members, RunningAdvantage

kinds = pytest.mark.parametrize('kind', KINDS)


def strategy_for(classroom, **options):
    """As in a classroom: it knows its number of mentors."""
    strategy = RunningAdvantage(**dict(dict(temperature=3.0), **options))
    names = [f'mentor_{m}' for m in range(len(classroom.mentors))]
    strategy.build(Members(None, names, {}, []))
    return strategy.double()


def loss_by_the_formula(classroom, advantage, temperature):
    """The distillation loss, one mentor, sample and item at a time."""
    targets, samples, total = classroom.targets, len(classroom.targets.weights), 0.0
    divergences = [
        classroom.divergence(classroom.student, mentor, targets, temperature)
        for mentor in classroom.mentors
    ]
    for i in range(samples):
        for k, item in enumerate(targets.weights[i]):
            there = [m for m, mentor in enumerate(classroom.mentors) if mentor.valid[i, k]]
            if not there:
                continue
            mean = sum(advantage[m] for m in there) / len(there)
            above = {m: max(0.0, advantage[m] - min(0.0, mean)) for m in there}
            for m in there:
                weight = above[m] / sum(above.values()) if any(above.values()) else 1 / len(there)
                total = total + item * weight * divergences[m][i, k]
    return total / samples


class ByTheFormula:
    """The running mean of a mentor's score minus the student's, one item at a time."""

    def __init__(self, mentors, decay):
        self.decay, self.difference, self.compared = decay, [0.0] * mentors, [0.0] * mentors

    def after(self, classroom):
        """The advantage of each mentor after one more batch."""
        weights = classroom.targets.weights
        item = classroom.ranker(classroom.members, classroom.targets).item.tolist()
        for m, mentor in enumerate(classroom.mentors):
            difference = compared = 0.0
            for i, k in torch.nonzero(mentor.valid).tolist():
                difference += weights[i, k].item() * (item[m + 1][i][k] - item[0][i][k])
                compared += weights[i, k].item()
            for mean, now in ((self.difference, difference), (self.compared, compared)):
                mean[m] = self.decay * mean[m] + (1 - self.decay) * now / len(weights)
        return [d / c if c else 0.0 for d, c in zip(self.difference, self.compared)]


@kinds
@pytest.mark.parametrize('mentors', [1, 2, 4])
def test_the_loss_is_the_formula_s_with_the_running_mean(kind, mentors):
    by_the_formula, strategy = ByTheFormula(mentors, 0.9), None
    for step in range(4):
        classroom = room(kind, mentors, seed=step)
        if mentors > 1:
            classroom.change(1, valid=torch.tensor([[True], [False], [True], [True], [True]]))
        if mentors > 2 and kind != 'classes':  # a mentor with fewer joints
            classroom.change(3, valid=torch.tensor([True, False, True]))
        strategy = strategy or strategy_for(classroom, decay=0.9)
        advantage = by_the_formula.after(classroom)
        leaves = classroom.leaves()
        loss = classroom.output(strategy).losses['loss_mentors']
        expected = loss_by_the_formula(classroom, advantage, 3.0)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        ours, slow = torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves)
        for one, other in zip(ours, slow):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.data())
def test_weights_sum_to_one_over_the_better_mentors(advantage, data):
    size = len(advantage)
    valid = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    weights = advantage_weights(torch.tensor(advantage, dtype=torch.float64), torch.tensor(valid))
    there = [a for a, v in zip(advantage, valid) if v]
    assert weights.sum().item() == pytest.approx(float(bool(there)))
    for weight, a, v in zip(weights.tolist(), advantage, valid):
        assert weight >= 0 and (v or weight == 0)
        if v and a == max(there):  # the best mentor always teaches
            assert weight > 0
        if v and a < min(0.0, max(there)) and a < sum(there) / len(there) - 1e-9:
            assert weight == 0  # it is worse than the student and than most


def test_a_student_that_has_passed_all_is_compared_with_their_mean():
    valid = torch.ones(3, dtype=torch.bool)
    mentors = torch.tensor([0.8, 0.6, 0.1])
    behind, ahead = (advantage_weights(mentors - own, valid) for own in (0.5, 0.99))
    assert behind.tolist() == pytest.approx([0.75, 0.25, 0])
    assert ahead.tolist() == pytest.approx([0.75, 0.25, 0])
    equal = advantage_weights(torch.full((3,), -0.4), valid)
    assert equal.tolist() == pytest.approx([1 / 3] * 3)


def test_a_specialist_is_compared_with_the_student_on_what_it_predicts():
    """A mentor that knows only what is hard for all is better there, though its mean is lower."""
    classroom = room('classes', 2)
    known = torch.tensor([[True], [True], [False], [False], [False]])
    scores = classroom.ranker(classroom.members, classroom.targets)
    valid = torch.stack([torch.ones(5, 1).bool(), known, torch.ones(5, 1).bool()])
    item = torch.tensor([[0.1, 0.1, 0.9, 0.9, 0.9], [0.4, 0.4, 0, 0, 0], [0.0, 0.0, 0.8, 0.8, 0.8]])
    scores = dataclasses.replace(scores, item=item[..., None].double(), valid=valid)
    strategy = strategy_for(classroom)
    weights = strategy.mentor_weights(classroom.mentors, scores, classroom.targets)[..., 0]
    assert weights[:, :2].tolist() == [[1, 1], [0, 0]]
    assert weights[:, 2:].tolist() == [[0] * 3, [1] * 3]  # it is alone there


@kinds
def test_one_mentor_teaches_as_in_hinton_s_distillation(kind):
    classroom = room(kind, 1)
    found = classroom.output(strategy_for(classroom)).losses['loss_mentors']
    assert found.item() == pytest.approx(
        classroom.output(AVER(temperature=3.0)).losses['loss_mentors'].item()
    )


def test_a_mentor_that_is_not_finite_does_not_stay_in_the_mean():
    classroom = classroom_of('classes', type='mmkd_classroom.RunningAdvantage')
    inputs, samples = SETTINGS['classes']['batch'](4)
    handle = classroom.mentors[1].model.register_forward_hook(lambda *_: _[2] * float('nan'))
    classroom(inputs, samples, mode='loss')
    handle.remove()
    losses = classroom(inputs, samples, mode='loss')
    assert classroom.strategy.averages.isfinite().all()
    assert losses['loss_mentors'].isfinite() and losses['loss_mentors'] > 0


def test_a_student_that_is_not_finite_once_does_not_stay_in_the_mean():
    """As in fp16, where a step with too large a loss scale is passed over."""
    classroom = classroom_of('classes', type='mmkd_classroom.RunningAdvantage')
    inputs, samples = SETTINGS['classes']['batch'](4)
    classroom(inputs, samples, mode='loss')
    before = classroom.strategy.averages.clone()
    weights = copy.deepcopy(classroom.state_dict())
    with torch.no_grad():
        next(classroom.head.parameters()).fill_(float('nan'))
    classroom(inputs, samples, mode='loss')
    classroom.load_state_dict(weights)
    decay = classroom.strategy.decay
    torch.testing.assert_close(classroom.strategy.averages, decay * before)  # the ratio is the same
    assert classroom(inputs, samples, mode='loss')['loss_mentors'].isfinite()


@pytest.mark.parametrize('change', [torch.nn.Module.half, torch.nn.Module.bfloat16])
def test_the_averages_are_never_in_half_precision(change):
    strategy = change(strategy_for(room('classes', 2)))
    assert strategy.averages.dtype == torch.float32


def test_in_evaluation_mode_the_running_mean_stays():
    """Reports and checks of a trained classroom show its weights."""
    classroom = room('classes', 2)
    strategy = strategy_for(classroom)
    classroom.output(strategy)
    before = strategy.averages.clone()
    classroom.output(strategy.eval())
    assert torch.equal(strategy.averages, before) and before.any()
    classroom.output(strategy.train())
    assert not torch.equal(strategy.averages, before)


def test_the_running_mean_is_saved():
    classroom = room('classes', 2)
    strategy = strategy_for(classroom)
    classroom.output(strategy)
    other = strategy_for(classroom)
    other.load_state_dict(strategy.state_dict())
    assert torch.equal(other.averages, strategy.averages) and strategy.averages.any()


@pytest.mark.parametrize(
    'option, value', [('decay', -0.1), ('decay', 1.0), ('temperature', 0.0), ('weight', -1.0)]
)
def test_wrong_options_are_named(option, value):
    with pytest.raises(ClassroomError, match=rf'model\.strategy\.{option} is {value}'):
        RunningAdvantage(**{option: value})
