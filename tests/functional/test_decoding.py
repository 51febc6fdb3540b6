"""Peaks and their refinement against MMPose's NumPy code."""

import numpy as np
import pytest
import torch
from mmpose.codecs.utils import (
    get_heatmap_maximum,
    refine_keypoints,
    refine_keypoints_dark,
    refine_keypoints_dark_udp,
)

from mmkd_classroom.functional import heatmap_peaks, refine_quarter, refine_taylor

HEIGHT, WIDTH = 24, 18


def noise(count, seed=0):
    """Random maps, some with their peak planted at every cell of the border and a corner."""
    maps = np.random.default_rng(seed).uniform(0.01, 1, (count, HEIGHT, WIDTH)).astype(np.float32)
    border = [(0, x) for x in range(WIDTH)] + [(HEIGHT - 1, x) for x in range(WIDTH)]
    border += [(y, 0) for y in range(HEIGHT)] + [(y, WIDTH - 1) for y in range(HEIGHT)]
    border += [(1, 1), (1, 5), (5, 1), (HEIGHT - 2, 4), (4, WIDTH - 2), (HEIGHT - 2, WIDTH - 2)]
    for index, (y, x) in enumerate(border):
        maps[index, y, x] = 2
    return maps


def bumps(count, level, seed=0, margin=3.0):
    """Gaussians of sigma 2 at least ``margin`` cells inside, of any height, with noise."""
    generator = np.random.default_rng(seed)
    x, y = (generator.uniform(margin, side - 1 - margin, count) for side in (WIDTH, HEIGHT))
    dx = np.arange(WIDTH)[None, None] - x[:, None, None]
    dy = np.arange(HEIGHT)[None, :, None] - y[:, None, None]
    maps = np.exp(-(dx**2 + dy**2) / 8) * generator.uniform(0.3, 1, (count, 1, 1))
    maps += level * generator.normal(size=maps.shape)
    return maps.astype(np.float32), np.stack([x, y], axis=-1)


def stock(refine, maps, *args):
    cells = get_heatmap_maximum(maps)[0]
    return refine(cells[None].copy(), maps.copy(), *args)[0]


def ours(refine, maps, *args):
    maps = torch.from_numpy(maps)
    return refine(maps, heatmap_peaks(maps), *args)


def test_peaks_are_mmpose_s():
    maps = noise(400)
    cells = heatmap_peaks(torch.from_numpy(maps).view(4, 100, HEIGHT, WIDTH))
    assert cells.shape == (4, 100, 2)
    np.testing.assert_array_equal(cells.flatten(0, 1).numpy(), get_heatmap_maximum(maps)[0])


def test_quarter_refinement_is_mmpose_s_to_the_bit():
    maps = noise(600)
    refined = ours(refine_quarter, maps)
    np.testing.assert_array_equal(refined.numpy(), stock(refine_keypoints, maps))
    moved = (refined != heatmap_peaks(torch.from_numpy(maps))).any(-1)
    assert moved.any() and not moved.all()  # both rules, of the border and of the inside


def test_quarter_refinement_leaves_a_plateau():
    maps = np.ones((1, HEIGHT, WIDTH), np.float32)
    maps[0, 10, 9] = 2  # neighbours are equal
    assert ours(refine_quarter, maps).tolist() == [[9, 10]]


# The tolerances are about twice the greatest differences measured. Stock DARK takes its second
# derivatives over two cells, and UDP its mixed one over one diagonal; on smooth peaks they agree.
@pytest.mark.parametrize(
    'refine, level, tolerance',
    [
        (refine_keypoints_dark_udp, 0.0, 1e-5),
        (refine_keypoints_dark_udp, 0.01, 2e-3),
        (refine_keypoints_dark, 0.0, 5e-3),
        (refine_keypoints_dark, 0.01, 7e-3),
    ],
)
def test_taylor_refinement_follows_mmpose_on_smooth_peaks(refine, level, tolerance):
    maps, _ = bumps(300, level)
    difference = ours(refine_taylor, maps, 11).numpy() - stock(refine, maps, 11)
    assert np.abs(difference).max() < tolerance


def test_taylor_refinement_finds_the_peak():
    maps, centres = bumps(300, 0.0, margin=6.0)
    assert np.abs(ours(refine_taylor, maps, 11).numpy() - centres).max() < 1e-4
    # A whole cell would be off by half of one.
    assert np.abs(heatmap_peaks(torch.from_numpy(maps)).numpy() - centres).max() > 0.4


@pytest.mark.parametrize('maps', [noise(600), np.zeros((3, HEIGHT, WIDTH), np.float32)])
def test_a_taylor_step_is_at_most_one_cell(maps):
    refined = ours(refine_taylor, maps, 11)
    step = refined - heatmap_peaks(torch.from_numpy(maps))
    assert refined.isfinite().all() and step.abs().max() <= 1


def test_refinements_take_one_map_at_a_time():
    maps = noise(150)
    for refine, args in [(refine_quarter, ()), (refine_taylor, (7,))]:
        whole = ours(refine, maps, *args)
        alone = torch.cat([ours(refine, maps[[i]], *args) for i in range(150)])
        torch.testing.assert_close(whole, alone, rtol=0, atol=1e-5)
