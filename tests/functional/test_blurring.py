"""The blur of OpenCV, on the device and in a graph of ``torch.compile``."""

import cv2
import numpy as np
import pytest
import torch

from mmkd_classroom.functional import gaussian_blur, heatmap_peaks, refine_taylor


@pytest.mark.parametrize('size', [3, 5, 11, 17])
@pytest.mark.parametrize(
    'border, flag', [('constant', cv2.BORDER_CONSTANT), ('reflect', cv2.BORDER_REFLECT_101)]
)
def test_it_is_opencv_s(size, border, flag):
    maps = np.random.default_rng(0).random((3, 32, 24))
    expected = np.stack([cv2.GaussianBlur(m, (size, size), 0, borderType=flag) for m in maps])
    found = gaussian_blur(torch.from_numpy(maps), size, border)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'function',
    [lambda maps: gaussian_blur(maps, 11), lambda maps: refine_taylor(maps, heatmap_peaks(maps))],
)
def test_it_breaks_no_graph(function):
    maps = torch.rand(3, 32, 24)
    compiled = torch.compile(function, backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(maps), function(maps))
