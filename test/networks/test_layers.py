"""Building blocks against what they stand for."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ros2_derain.networks.layers import ConvBlock, convolved_cells, halved


@pytest.mark.parametrize("stride", [1, 2])
def test_convolved_cells_are_the_layers_of_the_rearranged_image(stride):
    torch.manual_seed(0)
    image, state = torch.rand(2, 3, 36, 44), torch.rand(2, 5, 18, 22)
    cells = functional.pixel_unshuffle(image, 2)
    alone = nn.Sequential(ConvBlock(12, 8, stride=stride), ConvBlock(8, 4)).eval()
    joined = nn.Conv2d(17, 8, 3, stride, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(convolved_cells(alone, image), alone(cells))
        expected = joined(torch.cat((cells, state), 1))
        torch.testing.assert_close(convolved_cells(joined, image, state), expected)


def test_halved_is_the_mean_of_2x2_cells():
    x = torch.rand(1, 3, 6, 10)
    torch.testing.assert_close(halved(x), functional.avg_pool2d(x, 2))
