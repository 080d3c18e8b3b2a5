"""SAPNet: the published size, stages and their state, and the segmentation its loss looks through."""

import pytest
import torch
from counts import gmac, parameters, without_gradient
from torch import nn

from ros2_derain.networks.sapnet import BackgroundSegmenter, SAPNet


def tiny(**changes) -> SAPNet:
    torch.manual_seed(0)
    return SAPNet(**{"channels": 4, "dilations": (1, 2), "stages": 3, **changes})


def test_published_size():
    assert parameters(SAPNet()) == 180_483
    assert gmac(SAPNet()) == pytest.approx(265.0, rel=0.01)
    assert gmac(SAPNet("video")) == pytest.approx(265.0 / 6, rel=0.01)


def test_weights_lie_in_the_order_of_the_released_checkpoint():
    """conv0, five blocks of (conv, CRA's W1, W2, Ws) x 2, gates i, f, g, o, conv."""
    convolution = [(32, 32, 3, 3), (32,)]
    attention = [(2, 32, 1, 1), (32, 2, 1, 1), (32, 32, 1, 1)]
    released = [(32, 6, 3, 3), (32,)] + 10 * (convolution + attention)
    released += 4 * [(32, 64, 3, 3), (32,)] + [(3, 32, 3, 3), (3,)]
    state = SAPNet().state_dict()
    assert [tuple(value.shape) for value in state.values()] == released
    gates = [name for name, value in state.items() if value.shape == (32, 64, 3, 3)]
    assert gates == [f"{gate}.weight" for gate in ("input_gate", "forget_gate", "candidate", "output_gate")]


def test_a_stage_is_the_paper_s_equations():
    net = tiny(stages=1).double()
    rain, (before, memory) = torch.rand(1, 3, 9, 11).double(), torch.randn(2, 1, 4, 9, 11).double()
    with torch.no_grad():
        result = net.stage(rain, rain / 2, before, memory)
        x = torch.cat((torch.relu(net.head(torch.cat((rain, rain / 2), 1))), before), 1)
        cell = net.forget_gate(x).sigmoid() * memory
        cell = cell + net.input_gate(x).sigmoid() * net.candidate(x).tanh()
        hidden = net.output_gate(x).sigmoid() * cell.tanh()
        image = rain + net.tail(net.blocks(hidden))
    torch.testing.assert_close(result, (image, hidden, cell))


def test_every_stage_starts_from_the_image_and_state_of_the_one_before():
    net, rain = tiny(), torch.rand(2, 3, 65, 71)
    hidden = cell = torch.zeros(2, 4, 65, 71)
    image = rain
    with torch.no_grad():
        for _ in range(3):
            image, hidden, cell = net.stage(rain, image, hidden, cell)
            assert hidden.shape == cell.shape == (2, 4, 65, 71)
        torch.testing.assert_close(image, net(rain).image)


def test_the_state_of_the_stage_before_matters():
    net, rain = tiny(), torch.rand(2, 3, 64, 64)
    zeros = torch.zeros(2, 4, 64, 64)
    with torch.no_grad():
        fresh, *state = net.stage(rain, rain, zeros, zeros)
        carried, *_ = net.stage(rain, rain, *state)
    assert not torch.allclose(fresh, carried)


@pytest.mark.parametrize("attention, count", [("cra", 180_483), ("se", 170_243), ("ca", 171_883)])
def test_attention_changes_the_network(attention, count):
    assert parameters(SAPNet(attention=attention)) == count


def test_gradients_reach_every_weight():
    """In the attention's bottleneck of one channel, which a ReLU may close, at least a gradient of 0."""
    for attention in ("cra", "se", "ca"):
        net = tiny(attention=attention)
        net(torch.rand(1, 3, 64, 64)).image.square().sum().backward()
        assert without_gradient(net, but_attention=True) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "huge"}, "no variant named 'huge'; known: paper, video"),
        ({"attention": "eca"}, "attention is one of cra, se, ca, not 'eca'"),
        ({"width": 3}, "no option named width; known: stages, channels"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SAPNet(**options)


def test_the_background_segmenter_is_never_trained():
    torch.manual_seed(0)
    net = BackgroundSegmenter("light", classes=5).train()
    assert not any(module.training for module in net.modules())
    image = torch.rand(1, 3, 65, 71, requires_grad=True)
    logits = net(image)
    assert logits.shape == (1, 5, 17, 18) and logits.isfinite().all()
    logits.square().sum().backward()
    assert image.grad.abs().sum() > 0 and not any(p.requires_grad for p in net.parameters())
    assert net.classify.weight.std().item() == pytest.approx(0.05, rel=0.1)


def test_the_background_segmenter_can_be_drawn_anew():
    net = BackgroundSegmenter("light")
    encoder, decoder = net.backbone.stem[0].weight.clone(), net.classify.weight.clone()
    net.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(encoder, net.backbone.stem[0].weight)
    drawn = net.classify.weight.clone()
    assert not torch.equal(drawn, decoder)
    net.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(drawn, net.classify.weight)


def test_the_background_segmenter_takes_any_encoder():
    class Pyramid(nn.Module):
        channels = (3, 3, 3, 3)

        def forward(self, image):
            return tuple(nn.functional.avg_pool2d(image, 2**level) for level in range(2, 6))

    logits = BackgroundSegmenter(Pyramid(), classes=3)(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 3, 16, 24)


def test_the_paper_s_segmenter_at_full_size():
    """ResNet-101 without classifier is 42,500,160 weights; the pyramid adds 4.6 M."""
    with torch.device("meta"):
        net = BackgroundSegmenter()
        assert net(torch.empty(1, 3, 100, 100)).shape == (1, 21, 25, 25)
    assert parameters(net.backbone) == 42_500_160
    assert parameters(net) == 47_121_493
