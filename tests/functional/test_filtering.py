"""What must hold of ranks, gaps and temperatures for any scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmkd_classroom.functional import active_mentors, dtkd_temperatures, gap, ranks, temperature

# (M + 1, N): a student and one to five mentors on one to six samples.
scores = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(1, 6)),
    elements=st.one_of(st.just(0.0), st.floats(1e-6, 1.0)),
)
# The same with sums that are exact in any order, for what must hold of ties to the bit.
exact_scores = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(1, 6)),
    elements=st.integers(0, 64).map(lambda count: count / 64),
)


@given(scores)
def test_ranks_share_out_the_number_of_mentors(q):
    rank = ranks(torch.from_numpy(q))
    mentors = len(q) - 1
    expected = np.where(q.sum(0) > 0, mentors, 0.0)
    np.testing.assert_allclose(rank.sum(0).numpy(), expected, rtol=1e-12)
    assert (rank >= 0).all() and (rank <= mentors + 1e-9).all()


@given(scores, st.floats(0.01, 100))
def test_only_the_proportions_of_scores_matter(q, scale):
    q = torch.from_numpy(q)
    torch.testing.assert_close(ranks(q * scale), ranks(q))
    torch.testing.assert_close(gap(ranks(q * scale)), gap(ranks(q)))


@given(exact_scores, st.randoms(use_true_random=False))
def test_the_order_of_mentors_does_not_matter(q, random):
    order = list(range(1, len(q)))
    random.shuffle(order)
    rank, shuffled = ranks(torch.from_numpy(q)), ranks(torch.from_numpy(q[[0, *order]]))
    torch.testing.assert_close(shuffled, rank[[0, *order]])
    mentors = [index - 1 for index in order]
    torch.testing.assert_close(gap(shuffled), gap(rank)[mentors])
    assert torch.equal(active_mentors(shuffled), active_mentors(rank)[mentors])


@given(exact_scores)
def test_who_is_active_has_a_gap_and_the_reverse(q):
    rank = ranks(torch.from_numpy(q))
    psi = gap(rank)
    assert (psi >= 0).all() and (psi <= 1).all()
    assert torch.equal(active_mentors(rank), psi > 0)
    assert torch.equal(active_mentors(rank), torch.from_numpy(q[1:] > q[:1]))


@given(exact_scores)
def test_ties_add_those_who_are_as_good_as_the_student(q):
    rank = ranks(torch.from_numpy(q))
    more = active_mentors(rank, ties=True) & ~active_mentors(rank)
    assert torch.equal(more, torch.from_numpy(q[1:] == q[:1]))
    assert (gap(rank)[more] == 0).all()  # so they teach at temperature 1


@given(scores)
def test_each_sample_is_ranked_alone(q):
    q = torch.from_numpy(q)
    whole = ranks(q)
    for i in range(q.shape[1]):
        torch.testing.assert_close(whole[:, i], ranks(q[:, i]))
        torch.testing.assert_close(gap(whole)[:, i], gap(ranks(q[:, i])))


def test_by_hand():
    # Scores 0.2 (student), 0.6, 0.1, 0.1 and three mentors: ranks are 3 * q / 1.
    rank = ranks(torch.tensor([0.2, 0.6, 0.1, 0.1], dtype=torch.float64))
    assert rank.tolist() == pytest.approx([0.6, 1.8, 0.3, 0.3])
    assert active_mentors(rank).tolist() == [True, False, False]
    assert gap(rank).tolist() == pytest.approx([2 / 3, 0, 0])
    assert temperature(gap(rank), 12.0).tolist() == pytest.approx([9, 1, 1])


def test_nobody_knows_anything():
    rank = ranks(torch.zeros(4, 3, 2))
    assert rank.eq(0).all() and gap(rank).eq(0).all()
    assert not active_mentors(rank).any()


def test_smallest_scores_do_not_underflow():
    rank = ranks(torch.tensor([1e-40, 3e-40]))  # subnormal in float32
    assert rank.tolist() == pytest.approx([0.25, 0.75], rel=1e-3)


def test_no_student_at_all_is_the_widest_gap():
    assert gap(ranks(torch.tensor([0.0, 0.3]))).tolist() == [1.0]


def test_dtkd_by_hand():
    # Peaks 2 and 6 of reference 4: 2 * 2 / 8 * 4 = 2 and 2 * 6 / 8 * 4 = 6.
    student, mentor = dtkd_temperatures(torch.tensor([2.0]), torch.tensor([6.0]), 4.0)
    assert (student.item(), mentor.item()) == (2.0, 6.0)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.5, 20))
def test_dtkd_shares_out_twice_the_reference(student, mentor, reference):
    taus = dtkd_temperatures(torch.tensor([student]), torch.tensor([mentor]), reference)
    assert sum(tau.item() for tau in taus) == pytest.approx(2 * reference, rel=1e-5)
    assert taus[0].item() / taus[1].item() == pytest.approx(student / mentor, rel=1e-4)


@pytest.mark.parametrize('peaks', [(-1.0, 5.0), (5.0, -1.0), (-3.0, 3.0), (0.0, 0.0), (-2.0, -4.0)])
def test_dtkd_without_a_positive_peak_is_the_reference(peaks):
    taus = dtkd_temperatures(*(torch.tensor([peak]) for peak in peaks), 4.0)
    assert [tau.item() for tau in taus] == [4.0, 4.0]
