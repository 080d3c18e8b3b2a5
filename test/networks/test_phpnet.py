"""The PHP network: size, pyramids, contrast-aware pooling, and the switches of the paper's Table IV."""

import pytest
import torch
from counts import gmac, parameters, without_gradient

from ros2_derain.networks.phpnet import ContrastPooling, PhpNet, PhpSegmenter, Pyramid


def tiny(**changes) -> PhpNet:
    torch.manual_seed(0)
    return PhpNet(**{"channels": 8, "blocks": 1, "pyramids": 2, "refinement_channels": 4, **changes})


def dilations(net: PhpNet) -> list[list[int]]:
    """Of every branch of every pyramid."""
    return [
        [branch.dilation[0] for branch in pyramid.branches]
        for pyramid in net.modules()
        if isinstance(pyramid, Pyramid)
    ]


def test_size_and_cost():
    """The printed 8 ms on a GTX 1080 Ti allow 30 to 60 GMAC for 512 x 512; Phi is N1's twin."""
    with torch.device("meta"):
        net, twin = PhpNet(), PhpSegmenter(19)
    assert 30 <= gmac(net) <= 60
    assert parameters(net) == 474_907
    assert parameters(twin) - parameters(net.derain) == (19 - 12) * (32 + 1), "only the last layer differs"


@pytest.mark.parametrize("height, width", [(64, 64), (65, 71)])
def test_both_results_have_the_image_s_size_and_the_classes_half_of_it(height, width):
    net, twin = tiny().bfloat16().eval(), PhpSegmenter(5, channels=8, blocks=1, pyramids=1).bfloat16().eval()
    rain = torch.rand(2, 3, height, width)
    with torch.no_grad():
        result, logits = net(rain), twin(rain)
    assert result.image.shape == result.coarse.shape == rain.shape
    assert logits.shape == (2, 5, -(-height // 2), -(-width // 2)) and logits.dtype == torch.float32


def test_branches_are_summed_from_small_to_large_and_reweighted():
    torch.manual_seed(0)
    pyramid, x = Pyramid(4, (1, 2, 4)).double(), torch.randn(1, 4, 12, 12).double()
    with torch.no_grad():
        c1, c2, c3 = (torch.relu(branch(x)) for branch in pyramid.branches)
        f = torch.cat((c1, c1 + c2, c1 + c2 + c3), 1)
        expected = x + pyramid.fuse(f * pyramid.weigh(f).sigmoid())
        torch.testing.assert_close(pyramid(x), expected)
        pyramid.accumulate = False
        f = torch.cat((c1, c2, c3), 1)
        torch.testing.assert_close(pyramid(x), x + pyramid.fuse(f * pyramid.weigh(f).sigmoid()))


def test_contrast_pooling_holds_back_what_stands_out():
    """With d1 = 50 Y and d2 = 0, brightness itself is the contrast: only the dark is let through."""
    pool = ContrastPooling()
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.zero_()
        pool.near.weight.copy_(50 * torch.eye(3)[:, :, None, None])
        assert torch.allclose(pool(torch.ones(1, 3, 8, 8)), torch.zeros(1, 3, 4, 4), atol=1e-6)
        pool.near.weight.neg_()
        assert torch.allclose(pool(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 4, 4), atol=1e-6)


def test_blocks_of_table_4():
    grown = [[1, 2, 4], [2, 4, 8]]
    assert dilations(tiny()) == dilations(tiny(block="concat")) == grown
    assert dilations(tiny(block="parallel")) == [[1, 2, 4], [1, 2, 4]]
    assert dilations(tiny(block="hierarchical")) == [[1], [2]]
    assert dilations(tiny(block="standard")) == [[1], [1]]
    assert dilations(tiny(branches=("medium", "large"))) == [[2, 4], [4, 8]]
    assert dilations(tiny(branches=("small", "large"))) == [[1, 4], [2, 8]]
    assert dilations(tiny(branches=("small", "medium"))) == [[1, 2], [2, 4]]
    weighs = {block: tiny(block=block).derain.blocks[0][0].weigh is not None for block in ("php", "standard")}
    assert weighs == {"php": True, "standard": False}
    rain = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(tiny()(rain).image, tiny(block="concat")(rain).image)


def test_pooling_and_refinement_can_be_left_out():
    rain = torch.rand(1, 3, 64, 64)
    for pooling in ("max", "none"):
        net = tiny(pooling=pooling)
        assert not any(isinstance(module, ContrastPooling) for module in net.modules())
        assert net(rain).image.shape == rain.shape
    plain = tiny(refinement=False)(rain)
    assert plain.image is plain.coarse
    refined = tiny()(rain)
    assert not torch.equal(refined.image, refined.coarse)


def test_gradients_reach_every_weight():
    net, twin = tiny(), PhpSegmenter(5, channels=8, blocks=1, pyramids=2)
    result = net(torch.rand(1, 3, 64, 64))
    logits = twin(result.coarse)
    (result.image.square().sum() + logits.square().sum()).backward()
    for module in (net, twin):
        assert without_gradient(module) == []


def test_the_regulariser_teaches_the_derainer():
    net, twin = tiny(), PhpSegmenter(5, channels=8, blocks=1, pyramids=1)
    twin(net(torch.rand(1, 3, 64, 64)).coarse).square().sum().backward()
    assert net.derain.last.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.detail.parameters()), "Phi sees X^c, not X"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "huge"}, "no variant named 'huge'; known: paper, light"),
        ({"block": "dense"}, "block is one of php, concat, parallel, hierarchical, standard, not 'dense'"),
        ({"pooling": "mean"}, "pooling is one of contrast, max, none, not 'mean'"),
        ({"branches": ["tiny"]}, "branch is one of small, medium, large, not 'tiny'"),
        ({"branches": []}, "branches names at least one of small, medium, large"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PhpNet(**options)
