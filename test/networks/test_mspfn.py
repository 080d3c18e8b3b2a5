"""MSPFN: the published sizes, the fusion over the scales, and what can be switched off."""

import pytest
import torch
from counts import gmac, parameters, without_gradient
from torch import nn

from ros2_derain.networks.mspfn import MSPFN, BinomialHalf, ConvLSTM, Fusion


def tiny(**changes) -> MSPFN:
    torch.manual_seed(0)
    options = {"modules": 2, "units": 1, "channels": 8, "narrow": 4, "filters": (4, 4, 8)}
    return MSPFN(**{**options, **changes}).eval()


def on_meta(**options) -> MSPFN:
    with torch.device("meta"):
        return MSPFN(**options)


@pytest.mark.parametrize(
    "variant, printed, tolerance",
    [
        ("m17n1", 13.35, 0.02),
        ("m30n1", 21.81, 0.002),
        ("m17n2", 17.20, 0.02),
        ("m13n2", 13.63, 0.02),
        ("m10n3", 13.22, 0.02),
        ("m8n5", 14.56, 0.02),
        ("m6n3", 8.45, 0.01),
        ("light", 1.65, 0.01),
        ("without_cfm", 11.30, 0.04),
        ("image_fusion", 11.75, 0.01),
    ],
)
def test_published_sizes(variant, printed, tolerance):
    assert parameters(on_meta(variant=variant)) / 1e6 == pytest.approx(printed, rel=tolerance)


@pytest.mark.parametrize(
    "variant, ours, printed",
    [("m5n1", 5.059, 5.60), ("single_scale", 4.314, 5.53), ("without_ffm", 1.704, 2.29)],
)
def test_sizes_that_fall_short_of_the_printed_ones(variant, ours, printed):
    """The paper doesn't say what else these rows of Table 2 changed: ours are the smaller networks."""
    assert parameters(on_meta(variant=variant)) / 1e6 == pytest.approx(ours, abs=0.001)
    assert ours < printed


def test_cost():
    """The first step of a ConvLSTM skips its recurrent half, which multiplies zeros."""
    assert gmac(on_meta(variant="m17n1")) == pytest.approx(481.1, rel=0.001)
    assert gmac(on_meta(variant="light")) == pytest.approx(57.1, rel=0.001)
    assert gmac(on_meta(variant="light", steps=2)) == pytest.approx(69.8, rel=0.001)


@pytest.mark.parametrize("halvings", [1, 2])
def test_three_scales_take_a_size_that_cannot_be_halved(halvings):
    rain = torch.rand(1, 3, 65, 71)
    with torch.no_grad():
        assert tiny(halvings=halvings)(rain).image.shape == rain.shape


def test_a_fresh_network_begins_near_the_identity():
    rain = torch.rand(1, 3, 64, 64)
    for variant in ("light", "m5n1"):
        torch.manual_seed(0)
        with torch.no_grad():
            assert (MSPFN(variant)(rain).image - rain).abs().mean() < 0.02


def test_fusion_carries_every_coarser_scale_up():
    """y_1 = x_1 + unit(x_1 + up(up(y_1/4)) + up(y_1/2)), with units and ups known."""
    double = nn.Upsample(scale_factor=2)
    fusion = Fusion([nn.Identity() for _ in range(3)], 1, fused=True)
    fusion.ups = nn.ModuleList(nn.ModuleList(double for _ in ups) for ups in fusion.ups)
    quarter, half, full = (
        torch.full((1, 1, size, size), value) for size, value in ((2, 1.0), (4, 10), (8, 100))
    )
    y4, y2, y1 = fusion([quarter, half, full])
    assert (y4 == 2).all()
    assert (y2 == 10 + (10 + 2)).all()
    assert (y1 == 100 + (100 + 2 + 22)).all()
    alone = Fusion([nn.Identity() for _ in range(3)], 1, fused=False)([quarter, half, full])
    assert [x.max().item() for x in alone] == [2, 20, 200]


def test_conv_lstm_is_its_equations():
    torch.manual_seed(0)
    cell_net = ConvLSTM(3, 4, steps=3).double()
    x = torch.randn(1, 3, 6, 7).double()
    with torch.no_grad():
        hidden = cell = torch.zeros(1, 4, 6, 7).double()
        for _ in range(3):
            i, g, o, f = (cell_net.from_input(x) + cell_net.from_state(hidden)).chunk(4, 1)
            cell = (f + 1).sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        torch.testing.assert_close(cell_net(x), hidden)


def test_pyramids_keep_what_is_constant_and_where_things_are():
    ramp = torch.arange(16.0).expand(1, 3, 16, 16)
    half = BinomialHalf()(ramp)
    assert half.shape == (1, 3, 8, 8)
    torch.testing.assert_close(half[..., 1:-1], nn.functional.avg_pool2d(ramp, 2)[..., 1:-1])
    torch.testing.assert_close(BinomialHalf()(torch.ones(1, 3, 8, 8)), torch.ones(1, 3, 4, 4))
    rain = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(tiny(pyramid="gaussian")(rain).image, tiny(pyramid="average")(rain).image)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 2},
        {"steps": 2, "halvings": 2},
        {"steps": 2, "fusion": "image"},
        {"steps": 2, "filters": (4,)},
        {"coarse": False},
        {"steps": 2, "modules": 0},
    ],
)
def test_gradients_reach_every_weight(changes):
    net = tiny(**changes)
    net(torch.rand(1, 3, 64, 64)).image.square().sum().backward()
    assert without_gradient(net, but_attention=True) == []


def test_one_step_leaves_only_the_recurrent_halves_without_gradient():
    net = tiny()
    net(torch.rand(1, 3, 64, 64)).image.square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None]
    assert len(idle) == 3 and all(name.endswith("from_state.weight") for name in idle)


def test_ablations_leave_out_what_they_name():
    def parts(net: MSPFN) -> set[str]:
        return {name.split(".")[0] for name in net.state_dict()}

    assert parts(tiny()) == {"first", "coarse_fusion", "fine_fusion", "reconstruct"}
    assert parts(tiny(coarse=False)) == {"first", "fine_fusion", "reconstruct"}
    assert parts(tiny(modules=0)) == {"first", "coarse_fusion", "reconstruct"}
    ups = [name for name in tiny(fusion="image").state_dict() if ".ups." in name]
    assert ups and all(".units." in name for name in ups), "only the URABs' own"
    assert len(tiny(filters=(8,)).first) == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "m99"}, "no variant named 'm99'; known: m17n1"),
        ({"fusion": "none"}, "fusion is one of progressive, image, not 'none'"),
        ({"pyramid": "max"}, "pyramid is one of gaussian, average, not 'max'"),
        ({"width": 3}, "no option named width; known: modules, units"),
        ({"filters": ()}, "at least one scale"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MSPFN(**options)
