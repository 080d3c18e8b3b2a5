"""Shapes, cost and the contract between derainer and parser."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ros2_derain import networks
from ros2_derain.networks import LoopNet, RainGauge, SceneParser, WeatherGauge, prior_from_logits
from ros2_derain.networks.rain_gauge import gauge_input
from ros2_derain.networks.scene_parser import decode
from ros2_derain.networks.weather_gauge import same_details, water_input


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    return LoopNet(classes=5, widths=(8, 8, 8, 8), state=4).eval(), SceneParser(5, 2, (8, 8, 8, 8)).eval()


@pytest.mark.parametrize("height, width", [(64, 64), (65, 71), (90, 160), (107, 64)])
def test_any_size_comes_out_as_it_went_in(pair, height, width):
    derainer, parser = pair
    rain = torch.rand(2, 3, height, width)
    with torch.no_grad():
        coarse = derainer.coarse(rain)
        parse = parser(coarse.image)
        prior = prior_from_logits(parse.logits)
        refined = derainer.refine(rain, coarse, prior)
        again = derainer.coarse(rain, refined.state)
    assert coarse.image.shape == refined.image.shape == again.image.shape == rain.shape
    assert refined.error.shape == (2, 1, height, width) and (refined.error >= 0).all()
    assert parse.logits.shape == (2, 5, -(-height // 4), -(-width // 4))
    assert prior.shape == (2, 5, -(-height // 8), -(-width // 8))
    assert torch.allclose(prior.sum(1), torch.ones(()), atol=1e-5)


def test_no_prior_is_a_prior_of_zeros(pair):
    derainer, _ = pair
    rain = torch.rand(1, 3, 72, 80)
    with torch.no_grad():
        coarse = derainer.coarse(rain)
        none = derainer.refine(rain, coarse, None)
        zeros = derainer.refine(rain, coarse, torch.zeros(1, 5, 9, 10))
        road = derainer.refine(rain, coarse, torch.eye(5)[3].reshape(1, 5, 1, 1).expand(1, 5, 9, 10))
    assert torch.equal(none.image, zeros.image)
    assert not torch.equal(none.image, road.image), "the prior must matter"


def test_boxes_are_decoded_around_their_cells(pair):
    _, parser = pair
    with torch.no_grad():
        scores, boxes = decode(parser(torch.rand(1, 3, 64, 96)).levels)
    assert scores.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 2) and boxes.shape == (1, 126, 4)
    assert ((0 < scores) & (scores < 1)).all()
    centres = torch.tensor([[4.0, 4.0], [92.0, 4.0]])
    for cell, (x, y) in zip((0, 11), centres, strict=True):
        x0, y0, x1, y1 = boxes[0, cell]
        assert x0 < x < x1 and y0 < y < y1


def test_cost_of_the_temporal_pass_at_720p():
    """At most 60 GMAC and 8 M parameters for gauge, coarse, refine and parse together."""
    derainer, parser, gauge = LoopNet().eval(), SceneParser().eval(), WeatherGauge().eval()
    parameters = sum(p.numel() for module in (derainer, parser, gauge) for p in module.parameters())
    with torch.device("meta"):
        image, prior = torch.empty(1, 3, 720, 1280), torch.empty(1, 11, 90, 160)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        gauge.to("meta")(gauge_input(image))
        restoration = derainer.to("meta").once(image, None, prior)
        parser.to("meta")(restoration.image)
    assert counter.get_total_flops() / 2e9 <= 60
    assert parameters <= 8e6


def test_the_gauge_reads_a_rate_in_range():
    with torch.no_grad():
        rates = RainGauge()(torch.rand(3, 3, 64, 100))
    assert rates.shape == (3,) and ((0 <= rates) & (rates <= 250)).all()


def test_looking_for_water_costs_at_most_two_gmac_at_720p():
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        image = water_input(torch.empty(1, 3, 720, 1280))
        WeatherGauge().eval().to("meta").water(image, image)
    assert 0 < counter.get_total_flops() / 2e9 <= 2


def test_what_stands_still_has_the_same_details_in_the_mean_of_earlier_images():
    torch.manual_seed(0)
    scenes = torch.rand(12, 1, 24, 40).repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)
    scenes = scenes.clone()
    scenes[..., :80] = scenes[:1, :, :, :80]
    found = same_details(scenes[:1], scenes[1:].mean(0, keepdim=True))
    still, moving = found[..., :30], found[..., 50:]
    assert found.shape == (1, 4, 48, 80)
    assert still.amin((0, 2, 3)).gt(0.95).all() and moving.mean((0, 2, 3)).abs().lt(0.2).all()


def test_a_flat_image_has_no_details():
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert same_details(flat, flat).abs().max() < 1e-3


@pytest.mark.parametrize("height, width", [(64, 64), (65, 71), (90, 160)])
def test_the_weather_gauge_observes_images_and_their_pixels(height, width):
    torch.manual_seed(0)
    gauge, image = WeatherGauge((4, 4, 4, 4)).eval(), torch.rand(2, 3, height, width)
    with torch.no_grad():
        rate, seen = gauge(image), gauge.water(image, image)
    assert seen.obstruction.shape == (2, 1, -(-height // 2), -(-width // 2))
    for value, most in ((rate, 250), (seen.coverage, 1), (seen.contrast_loss, 1)):
        assert value.shape == (2,) and ((0 <= value) & (value <= most)).all()
    hidden = (seen.obstruction > 0.5).float().mean((1, 2, 3))
    assert torch.equal(hidden, seen.coverage)


@pytest.mark.parametrize(
    "size, seen",
    [
        ((64, 799), (128, 1598)),
        ((64, 800), (64, 800)),
        ((1201, 1599), (1201, 1599)),
        ((1600, 901), (800, 450)),
    ],
)
def test_water_is_looked_for_in_images_of_800_to_1600_pixels(size, seen):
    assert water_input(torch.rand(1, 3, *size)).shape == (1, 3, *seen)


def test_gradients_reach_every_weight(pair):
    derainer = LoopNet(classes=5, widths=(8, 8, 8, 8), state=4)
    rain = torch.rand(1, 3, 64, 64)
    first = derainer.once(rain, None, torch.rand(1, 5, 8, 8))
    second = derainer.once(rain, first.state, torch.rand(1, 5, 8, 8))
    (second.image.sum() + second.error.sum()).backward()
    assert [name for name, p in derainer.named_parameters() if p.grad is None] == []


def test_unknown_networks_are_named():
    with pytest.raises(KeyError, match="no network named 'unet'; known: danet"):
        networks.create("unet")
