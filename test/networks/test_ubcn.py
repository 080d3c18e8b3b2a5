"""UBCN: the loop, its parts and switches; the encoders of its segmentation networks."""

from types import SimpleNamespace

import pytest
import torch
from counts import parameters, without_gradient
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ros2_derain.networks.backbones import BACKBONES, LightEncoder, backbone_of
from ros2_derain.networks.layers import ResidualBlock
from ros2_derain.networks.ubcn import (
    FeatureDiscriminator,
    SemanticAttention,
    UbcnDerainer,
    UbcnSegmenter,
    close_loop,
)


class Ubcn(nn.Module):
    """All networks of a training: the loop's two, and those of feature-level deraining."""

    def __init__(self, **changes):
        super().__init__()
        torch.manual_seed(0)
        self.derainer = UbcnDerainer(3, "light", **{"channels": 8, "blocks": 1, "branch": 2, **changes})
        self.segmenter, self.clean_segmenter = UbcnSegmenter(3, "light"), UbcnSegmenter(3, "light")
        self.discriminator = FeatureDiscriminator(self.segmenter.feature_channels)

    def forward(self, rain, iterations=2):
        iterations = close_loop(self.derainer, self.segmenter, rain, iterations)
        last = iterations[-1]
        return SimpleNamespace(image=last.refined, logits=last.segmentation.logits, iterations=iterations)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_classes_have_a_quarter_of_the_image_s_size(dtype):
    net, rain = Ubcn().to(dtype).eval(), torch.rand(2, 3, 65, 71)
    with torch.no_grad():
        result, clean = net(rain), net.clean_segmenter(rain)
    assert result.image.shape == rain.shape and result.image.dtype == result.logits.dtype == torch.float32
    assert result.logits.shape == clean.logits.shape == (2, 3, 17, 18)


def test_an_iteration_starts_from_the_one_before():
    net, rain = Ubcn().eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        once, twice = net(rain, iterations=1), net(rain)
        derainer = net.derainer
        assert torch.equal(once.iterations[0].coarse, derainer.coarse(rain).image)
        assert torch.equal(twice.iterations[0].refined, once.image)
        coarse = derainer.bottom_up(rain, once.image)
        segmentation = net.segmenter(coarse)
        refined = derainer.top_down(rain, coarse, segmentation.logits.softmax(1))
    assert len(twice.iterations) == 2
    assert torch.equal(twice.image, refined) and torch.equal(twice.logits, segmentation.logits)
    assert not torch.equal(coarse, once.iterations[0].coarse)


def test_attention_is_one_path_per_class_summed_up():
    torch.manual_seed(0)
    sam = SemanticAttention(classes=3, channels=4, branch=2, scale=1).double()
    coarse, rain = torch.rand(2, 1, 3, 8, 8).double()
    probabilities = torch.randn(1, 3, 8, 8).double().softmax(1)
    with torch.no_grad():
        shared = sam.look(coarse, rain)
        expected = sam.tail.bias.reshape(1, 3, 1, 1)
        for c in range(3):
            inner = nn.functional.conv2d(
                shared * probabilities[:, c : c + 1],
                sam.paths.weight[2 * c : 2 * c + 2],
                sam.paths.bias[2 * c : 2 * c + 2],
                padding=1,
            )
            own = sam.tail.weight[:, 2 * c : 2 * c + 2]
            expected = expected + nn.functional.conv2d(inner.relu(), own, padding=1)
        torch.testing.assert_close(sam(coarse, rain, probabilities), expected)


def test_switches_change_the_structure():
    full, rain = Ubcn(), torch.rand(1, 3, 64, 64)
    blocks = sum(isinstance(module, ResidualBlock) for module in full.derainer.derain.modules())
    assert blocks == 1
    without_sam = Ubcn(sam=False)
    turn = without_sam(rain).iterations[-1]
    assert without_sam.derainer.attend is None and turn.refined is turn.coarse
    without_ild = Ubcn(ild=False)
    result = without_ild(rain)
    assert without_ild.derainer.derain is None and len(result.iterations) == 1
    assert torch.equal(result.iterations[0].coarse, rain) and not torch.equal(result.image, rain)
    assert all(parameters(net) < parameters(full) for net in (without_sam, without_ild))


def test_gradients_reach_every_weight():
    net, rain, clean = Ubcn(), *torch.rand(2, 1, 3, 64, 64)
    result, parsed = net(rain), net.clean_segmenter(clean)
    derained = result.iterations[-1].segmentation.features
    score = net.discriminator(derained).exp().sum() - net.discriminator(parsed.features).sum()
    seen = result.logits.square().sum() + parsed.logits.square().sum()
    (result.image.square().sum() + score + seen).backward()
    assert without_gradient(net) == []


def test_restoration_teaches_the_segmentation():
    """The attention maps are probabilities, not labels."""
    net = Ubcn()
    net(torch.rand(1, 3, 64, 64), iterations=1).image.square().sum().backward()
    assert without_gradient(net.segmenter) == []


def test_derainer_of_the_paper():
    with torch.device("meta"):
        derainer, image = UbcnDerainer(19), torch.empty(1, 3, 128, 128)
        prior = torch.empty(1, 19, 16, 16)
    assert len(derainer.derain.look.blocks) == 22
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert derainer.bottom_up(image, image).shape == image.shape
        coarse = counter.get_total_flops() / 2 / 128**2
        assert derainer.top_down(image, image, prior).shape == image.shape
    assert coarse == 9 * (6 * 64 + 44 * 64 * 64 + 64 * 3)
    assert parameters(derainer) == 1_964_934


@pytest.mark.parametrize(
    "name, classes, count, shape, features",
    [
        ("pspnet50", 19, 46_589_523, (1, 19, 26, 50), (1, 2048, 18, 30)),
        ("hrnet18", 19, 9_640_849, (1, 19, 26, 50), (1, 270, 32, 56)),
        ("light", 11, 3_097_051, (1, 11, 26, 50), (1, 416, 32, 56)),
    ],
)
def test_segmentation_networks_of_the_paper(name, classes, count, shape, features):
    """For 101 x 200 pixels: logits at stride 4, features of the padded image."""
    with torch.device("meta"):
        net = UbcnSegmenter(classes, name)
        result = net(torch.empty(1, 3, 101, 200))
        score = FeatureDiscriminator(net.feature_channels)(result.features)
    assert parameters(net) == count
    assert (result.logits.shape, result.features.shape) == (shape, features)
    assert score.shape[:2] == (1, 1) and score.numel() > 0


@pytest.mark.parametrize(
    "name, count, strides",
    [
        ("resnet50", 23_508_032, (4, 8, 16, 32)),
        ("resnet50_dilated", 23_508_032, (4, 8, 8, 8)),
        ("resnet101", 42_500_160, (4, 8, 16, 32)),
        ("hrnet18", 9_562_260, (4, 8, 16, 32)),
        ("light", 3_069_584, (4, 8, 16, 32)),
    ],
)
def test_encoders(name, count, strides):
    with torch.device("meta"):
        encoder = backbone_of(name)
        maps = encoder(torch.empty(1, 3, 64, 96))
    assert parameters(encoder) == count, "as published, without classifier"
    expected = [(1, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, strides, strict=True)]
    assert [tuple(x.shape) for x in maps] == expected


def test_a_fresh_deep_encoder_stays_finite_in_evaluation():
    torch.manual_seed(0)
    with torch.no_grad():
        maps = BACKBONES["resnet101"]().eval()(torch.rand(1, 3, 64, 64))
    assert all(x.abs().max() < 1e3 and x.std() > 1e-3 for x in maps)


def test_pyramid_pooling_trains_on_a_single_image():
    """Also where a region's mean is a single pixel."""
    torch.manual_seed(0)
    net = UbcnSegmenter(3, "pspnet50", backbone=EighthEncoder()).train()
    result = net(torch.rand(1, 3, 65, 71))
    assert result.logits.shape == (1, 3, 17, 18) and result.features.shape == (1, 32, 12, 12)
    result.logits.square().sum().backward()
    assert without_gradient(net.decoder) == []


class EighthEncoder(nn.Module):
    """Somebody's own encoder: one map at stride 8."""

    channels = (32,)

    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(3, 32, 8, stride=8)

    def forward(self, image):
        return (self.look(image),)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: UbcnDerainer(variant="vgg"), "no variant named 'vgg'; known: pspnet50, hrnet18, light"),
        (lambda: UbcnSegmenter(name="unet"), "segmenter is one of pspnet50, hrnet18, light, not 'unet'"),
        (lambda: UbcnDerainer(width=3), "no option named width; known: channels, blocks"),
        (lambda: UbcnSegmenter(backbone="vgg"), "backbone is one of resnet50, .* not 'vgg'"),
    ],
)
def test_wrong_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_module_is_its_own_backbone():
    encoder = LightEncoder()
    assert backbone_of(encoder) is encoder
