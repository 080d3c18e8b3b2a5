"""Losses in feature spaces, and the papers' objectives."""

import math

import pytest
import tiny_model
import torch
from torch import nn

from ros2_derain import models, networks
from ros2_derain.learning import LearningError, losses


@pytest.fixture(scope="module")
def parser() -> networks.SceneParser:
    torch.manual_seed(0)
    return networks.create("scene_parser", classes=3, objects=2, widths=[8, 8, 8, 8])


@pytest.fixture(scope="module")
def features(parser) -> losses.SceneFeatures:
    return losses.SceneFeatures(parser)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Derained, clean and rainy image, 1 x 3 x 64 x 96."""
    generator = torch.Generator().manual_seed(0)
    clean, layer = (torch.rand(1, 3, 64, 96, generator=generator) for _ in range(2))
    return (clean + 0.1 * layer).clamp(0, 1), clean, (clean + 0.5 * layer).clamp(0, 1)


def discriminator() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1))


# features


def test_the_features_are_those_of_the_parsers_encoder(parser, features):
    """Whatever the parser does to an image before its encoder, the feature space does as well."""
    image, seen = torch.rand(1, 3, 70, 100), []
    lasts = [stage[-1] for stage in parser.stages]
    hooks = [last.register_forward_hook(lambda _, __, output: seen.append(output)) for last in lasts]
    parser.eval()(image)
    for hook in hooks:
        hook.remove()
    given = features(image)
    assert [tuple(x.shape) for x in given] == [
        (1, 8, 24, 32),
        (1, 8, 12, 16),
        (1, 8, 6, 8),
        (1, 8, 3, 4),
    ]
    for a, b in zip(given, seen, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_reach_the_image_and_no_weight(features):
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    sum(x.square().mean() for x in features(image)).backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in features.parameters())


def test_the_feature_space_stays_frozen_inside_a_model_that_trains(parser):
    task = nn.ModuleDict({"parser": parser, "features": losses.SceneFeatures(parser)})
    image = torch.rand(2, 3, 64, 64)
    before = task.eval()["features"](image)[3].clone()
    task.train()
    parser(image)
    with torch.no_grad():
        parser.stage4[1].first[0].weight.add_(1.0)
    assert torch.equal(task["features"](image)[3], before)
    assert parser.training and all(p.requires_grad for p in parser.parameters())


def test_the_feature_space_comes_from_a_model_folder(tmp_path):
    features = losses.SceneFeatures.of_model(tiny_model.write(tmp_path / "tiny"))
    assert [x.shape[1] for x in features(torch.rand(1, 3, 64, 64))] == [8, 8, 8, 8]
    with pytest.raises(models.ModelError, match="nowhere"):
        losses.SceneFeatures.of_model(tmp_path / "nowhere")


# contrast


def test_the_contrast_ratio_by_hand():
    clean, rain = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert losses.contrast_ratio(clean, clean, rain).item() == 0
    assert losses.contrast_ratio(clean + 0.5, clean, rain).item() == pytest.approx(1)
    assert losses.contrast_ratio(clean + 0.25, clean, rain).item() == pytest.approx(0.25 / 0.75)


def test_the_contrastive_loss_weighs_the_layers():
    """Each of four layers sees one quarter of the image, with a ratio of its own: 1/3, 1, 0 and 3."""
    clean, rain = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    derained = torch.tensor([0.25, 0.5, 0.0, 0.75]).expand(2, 3, 4, 4)
    loss = losses.contrastive(lambda image: image.chunk(4, 3), derained, clean, rain)
    assert loss.item() == pytest.approx(1 / 32 / 3 + 1 / 16 + 0 + 3 / 4)
    with pytest.raises(LearningError, match="4 layer weights for 1"):
        losses.contrastive(lambda image: (image,), clean, clean, rain)


def test_the_contrastive_loss_is_zero_at_the_clean_image_and_grows_towards_the_rain(features, images):
    _, clean, rain = images
    values = [
        losses.contrastive(features, torch.lerp(clean, rain, t), clean, rain).item() for t in (0, 0.3, 0.9)
    ]
    assert values[0] == pytest.approx(0, abs=1e-5) and 1e-3 < values[1] < values[2]


def test_the_perceptual_distance_compares_directions_of_features():
    def extractor(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert image.shape[-2:] == (256, 256)
        return image, 7 * image

    red, green = torch.zeros(1, 3, 32, 48), torch.zeros(1, 3, 32, 48)
    red[:, 0], green[:, 1] = 0.5, 0.8
    assert losses.perceptual_distance(extractor, red, 0.3 * red).item() == pytest.approx(0, abs=1e-6)
    assert losses.perceptual_distance(extractor, red, green).item() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("loss", ["contrastive", "perceptual_distance"])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_the_derained_image_only(features, images, loss, autocast):
    derained, clean, rain = (image.clone().requires_grad_() for image in images)
    others = (clean, rain) if loss == "contrastive" else (clean,)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = getattr(losses, loss)(features, derained, *others)
    value.backward()
    assert value.isfinite() and value.dtype == torch.float32
    assert derained.grad.isfinite().all() and derained.grad.abs().sum() > 0
    assert clean.grad is None and rain.grad is None


# adversarial alignment


def test_a_discriminator_that_knows_nothing_pays_log_two_a_side():
    ignorant = nn.Conv2d(4, 1, 1)
    nn.init.zeros_(ignorant.weight)
    nn.init.zeros_(ignorant.bias)
    a, b = torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)
    assert losses.discrimination(ignorant, a, b).item() == pytest.approx(2 * math.log(2))
    assert losses.alignment(ignorant, a).item() == pytest.approx(math.log(2))


def test_each_side_trains_itself_only():
    network, derained, clean = discriminator(), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    derained.requires_grad_(), clean.requires_grad_()
    losses.discrimination(network, derained, clean).backward()
    assert derained.grad is None and clean.grad is None
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())
    network.zero_grad()
    losses.alignment(network, derained).backward()
    assert derained.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_the_sides_pull_against_each_other():
    """A discriminator trained to separate the features; features moved to fool it."""
    network, clean = discriminator(), torch.randn(4, 4, 8, 8) + 2
    derained = (torch.randn(4, 4, 8, 8) - 2).requires_grad_()
    learn = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        learn.zero_grad()
        losses.discrimination(network, derained, clean).backward()
        learn.step()
    assert losses.discrimination(network, derained, clean).item() < 0.3
    before = losses.alignment(network, derained)
    before.backward()
    assert losses.alignment(network, derained - 100 * derained.grad).item() < before.item()
    assert losses.alignment(network, clean).item() < 0.3 < before.item()


def test_half_precision_features_are_finite():
    network = discriminator().bfloat16()
    features = (1e3 * torch.randn(1, 4, 8, 8)).bfloat16().requires_grad_()
    losses.alignment(network, features).backward()
    assert losses.discrimination(network, features, features).isfinite() and features.grad.isfinite().all()
