"""Matrices that read a grid elsewhere: against closed forms and SciPy."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BarycentricInterpolator

from mmkd_classroom.functional import gaussian_matrix, interpolation_matrix, triangle_matrix

POSITIONS = st.lists(st.floats(-3, 40, width=32), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(POSITIONS, st.integers(1, 30))
def test_rows_of_an_interpolation_sum_to_one(positions, size):
    matrix = interpolation_matrix(torch.tensor(positions, dtype=torch.float64), size)
    torch.testing.assert_close(matrix.sum(1), torch.ones(len(positions), dtype=torch.float64))


def test_cells_are_read_as_they_are_and_the_edges_repeated():
    cells = torch.randn(12, dtype=torch.float64)
    positions = torch.tensor([-5.0, 0, 4, 11, 30], dtype=torch.float64)
    read = interpolation_matrix(positions, 12) @ cells
    torch.testing.assert_close(read, cells[[0, 0, 4, 11, 11]])


def test_between_cells_it_is_the_polynomial_through_ten_of_them():
    cells = torch.randn(30, dtype=torch.float64)
    position = 13.3
    expected = BarycentricInterpolator(range(9, 19), cells[9:19].numpy())(position)
    matrix = interpolation_matrix(torch.tensor([position], dtype=torch.float64), 30)
    assert (matrix @ cells).item() == pytest.approx(float(expected), rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1, 3), st.floats(0, 1))
def test_a_triangle_averages_and_misses_no_cell(width, start):
    positions = start + width * torch.arange(12, dtype=torch.float64)
    matrix = triangle_matrix(positions, 20, width)
    inside = positions <= 19
    torch.testing.assert_close(matrix.sum(1)[inside], torch.ones(int(inside.sum())).double())
    first, last = int(start) + 1, min(20, int(positions[-1]))
    assert (matrix.sum(0)[first:last] > 0).all() and (matrix >= 0).all()


def test_a_triangle_of_width_one_is_linear_interpolation():
    matrix = triangle_matrix(torch.tensor([2.25, 50.0]), 5, 1.0)
    torch.testing.assert_close(matrix, torch.tensor([[0, 0, 0.75, 0.25, 0], [0, 0, 0, 0, 0]]))


def test_a_gaussian_has_height_one_at_its_centre():
    matrix = gaussian_matrix(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), 2.0)
    distance = torch.tensor([[0.0, 3.0], [1.0, 2.0]])
    torch.testing.assert_close(matrix, torch.exp(-distance.square() / 8))
