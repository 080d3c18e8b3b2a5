"""DANet: the published sizes, the equations, and what can be switched off."""

from functools import cache

import counts
import pytest
import torch
from torch.nn import functional

from ros2_derain.networks.danet import DANet, FusionBlock


def tiny(**changes) -> DANet:
    torch.manual_seed(0)
    options = {"channels": 8, "orb_blocks": 1, "encoder_blocks": 1, "decoder_blocks": 1, "reduction": 2}
    return DANet(**{**options, **changes}).eval()


@cache
def cost(variant: str) -> tuple[float, float]:
    """Parameters in millions, GMAC for 512 x 512."""
    with torch.device("meta"):
        net = DANet(variant)
    return counts.parameters(net) / 1e6, counts.gmac(net)


def test_published_sizes():
    parameters, gmac = cost("danet")
    assert parameters == pytest.approx(1.547, rel=0.01) and gmac == pytest.approx(49.11, rel=0.01)
    parameters, gmac = cost("diamond")
    assert parameters == pytest.approx(2.943, abs=0.0005) and gmac == pytest.approx(130.48, abs=0.01)


@pytest.mark.parametrize(
    "variant, parameters, gmac",
    [
        ("without_alm", 1.544, 48.94),
        ("without_sfb", 1.520, 54.66),
        ("without_dsc", 1.596, 43.56),
        ("without_edb", 1.583, 101.48),
        ("full_resolution", 1.535, 166.83),
    ],
)
def test_sizes_of_the_ablations_of_table_1(variant, parameters, gmac):
    ours = cost(variant)
    assert ours[0] == pytest.approx(parameters, rel=0.02)
    assert ours[1] == pytest.approx(gmac, rel=0.025)


def test_without_the_orb_less_work_is_left_than_printed():
    parameters, gmac = cost("without_orb")
    assert parameters == pytest.approx(1.557, rel=0.01)
    assert gmac == pytest.approx(21.4, abs=0.1), "the paper's 27.59 can't be had in stages at 1/4 and below"


def test_the_association_costs_what_table_1_says():
    """3,000 parameters and 0.17 GMAC, as printed to that precision."""
    (parameters, gmac), (without, less) = cost("danet"), cost("without_alm")
    assert round(parameters - without, 3) == 0.003 and round(gmac - less, 2) == 0.17


def test_the_first_result_has_half_the_image_s_size():
    with torch.no_grad():
        result = tiny().bfloat16()(torch.rand(2, 3, 65, 71))
    assert result.half.shape == (2, 3, 33, 36) and result.half.dtype == torch.float32


def test_at_full_resolution_both_results_have_the_image_s_size():
    rain = torch.rand(1, 3, 65, 71)
    with torch.no_grad():
        result = tiny(sr=False)(rain)
    assert result.image.shape == result.half.shape == rain.shape


def test_the_result_is_the_paper_s_equations():
    net, rain = tiny().double(), torch.rand(1, 3, 64, 80).double()
    with torch.no_grad():
        result = net(rain)
        small = functional.interpolate(rain, scale_factor=0.5, mode="bilinear", align_corners=False)
        streaks = net.dsn(rain, small)
        background = small - streaks
        features = net.alm.image(rain)
        guided = features + net.alm.mask(streaks).sigmoid() * features + net.alm.background(background)
        up = functional.interpolate(background, scale_factor=2, mode="bilinear", align_corners=False)
        torch.testing.assert_close(result.half, background)
        torch.testing.assert_close(result.image, net.rsn(guided) + up)


def test_an_sfb_adds_to_its_first_input():
    torch.manual_seed(0)
    block, x, y = FusionBlock(4, 2), torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
    with torch.no_grad():
        mixed = block.mix(torch.cat((x, y), 1))
        torch.testing.assert_close(block(x, y), x + block.attention(mixed))


def test_a_fresh_network_begins_near_the_smoothed_image():
    """What DANet starts from is the upsampled half-size image."""
    torch.manual_seed(0)
    rain = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        result = DANet()(rain)
    small = functional.avg_pool2d(rain, 2)
    assert (result.half - small).abs().mean() < 0.02
    up = functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    assert (result.image - up).abs().mean() < 0.04


@pytest.mark.parametrize("off", [None, "alm", "sfb", "dsc", "orb", "edb", "sr"])
def test_gradients_reach_every_weight(off):
    net = tiny(**{off: False} if off else {})
    result = net(torch.rand(1, 3, 64, 64))
    (result.image.square().sum() + result.half.square().sum()).backward()
    assert counts.without_gradient(net, but_attention=True) == []


def test_the_loss_of_the_image_alone_reaches_dsn():
    net = tiny()
    net(torch.rand(1, 3, 64, 64)).image.square().sum().backward()
    assert counts.without_gradient(net.dsn, but_attention=True) == []


def test_ablations_leave_out_what_they_name():
    def classes(net: DANet) -> set[str]:
        return {type(module).__name__ for module in net.modules()}

    assert {"FusionBlock", "ScaleFusionBlock", "SeparableConvolution", "PixelShuffle"} <= classes(tiny())
    assert not {"FusionBlock", "ScaleFusionBlock"} & classes(tiny(sfb=False))
    assert "SeparableConvolution" not in classes(tiny(sfb=False, dsc=False))
    assert "OriginalResolution" not in classes(tiny(orb=False))
    assert "EncoderDecoder" not in classes(tiny(edb=False))
    assert "PixelShuffle" not in classes(tiny(sr=False))
    assert {n for n in tiny().state_dict() if n.startswith("alm.")} == {
        "alm.image.weight",
        "alm.mask.weight",
        "alm.background.weight",
    }
    assert [n for n in tiny(alm=False).state_dict() if n.startswith("alm.")] == ["alm.image.weight"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "ruby"}, "no variant named 'ruby'; known: danet, diamond"),
        ({"orb": False, "edb": False}, "orb and edb are both off"),
        ({"width": 3}, "no option named width; known: channels, orb_blocks"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DANet(**options)
