"""Losses of restored images against values worked out by hand, an oracle, and the calculus."""

import math

import cv2
import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from ros2_derain.learning import LearningError, losses
from ros2_derain.learning.losses.image import _repeat_edges

COMPARISONS = (
    losses.charbonnier,
    losses.edge,
    losses.ssim,
    losses.colour,
    losses.low_frequency,
    losses.regional,
    losses.psnr_shortfall,
)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a noisy copy of it, 2 x 3 x 24 x 32."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 3, 24, 32, generator=generator)
    return (clean + 0.1 * torch.randn(clean.shape, generator=generator)).clamp(0, 1), clean


def test_charbonnier_of_equal_images_is_epsilon():
    image = torch.rand(1, 3, 8, 8)
    assert losses.charbonnier(image, image).item() == pytest.approx(1e-3)
    assert losses.charbonnier(image + 0.3, image).item() == pytest.approx(0.3, abs=1e-4)
    assert losses.charbonnier(torch.tensor([4.0]), torch.tensor([1.0]), epsilon=4.0).item() == 5.0


def test_the_edge_loss_does_not_see_a_shift_of_brightness():
    image = torch.rand(1, 3, 8, 8)
    assert losses.edge(image + 0.2, image).item() == pytest.approx(1e-3, rel=0.05)
    spot = torch.zeros(1, 3, 9, 9)
    spot[:, :, 4, 4] = 1.0
    assert losses.edge(spot, torch.zeros_like(spot)).item() == pytest.approx((8 + 8 * 1) / 81, rel=0.02)


def test_the_colour_loss_sees_hue_not_brightness():
    red, green = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    red[:, 0], green[:, 1] = 0.5, 0.8
    assert losses.colour(0.5 * red, red).item() == pytest.approx(0, abs=1e-5)
    assert losses.colour(red, green).item() == pytest.approx(1 - 1e-4 / (0.4 + 1e-4), abs=1e-6)
    diagonal = torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1).expand_as(red)
    assert losses.colour(diagonal, red).item() == pytest.approx(1 - 2**-0.5, abs=1e-3)


def test_the_colour_loss_leaves_dark_pixels_alone():
    """An equal pixel is a minimum however dark: none is drawn to be brighter than it is."""
    for level in (0.0, 1e-3, 0.02, 0.5):
        dark = torch.full((1, 3, 2, 2), level, requires_grad=True)
        loss = losses.colour(dark, dark.detach())
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6) and dark.grad.abs().max() < 1e-5


def test_ssim_of_flat_images_by_hand():
    """Without variance only the term of the means is left: (2ab + C1) / (a^2 + b^2 + C1)."""
    a, b = torch.full((1, 3, 12, 12), 0.25), torch.full((1, 3, 12, 12), 0.75)
    expected = 1 - (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert losses.ssim(a, b).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.3])
def test_ssim_agrees_with_torchmetrics(images, noise):
    """Theirs also holds the windows that reach over the image's edge, five pixels wide."""
    _, clean = images
    rain = (clean + noise * torch.randn(clean.shape)).clamp(0, 1)
    _, similarity = structural_similarity_index_measure(rain, clean, data_range=1.0, return_full_image=True)
    expected = 1 - similarity[..., 5:-5, 5:-5].mean()
    assert losses.ssim(rain, clean).item() == pytest.approx(expected.item(), abs=2e-6)


def test_ssim_stays_precise_under_autocast(images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = losses.ssim(*images), losses.low_frequency(*images)
    assert under == (losses.ssim(*images), losses.low_frequency(*images))


def test_ssim_of_opposites_is_above_one():
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 1.0
    board = board.expand(1, 3, 16, 16)
    assert 1.9 < losses.ssim(1 - board, board).item() <= 2


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(LearningError, match="11 x 11"):
        losses.ssim(torch.rand(1, 3, 10, 40), torch.rand(1, 3, 10, 40))


def test_the_low_frequency_target_is_opencvs_gaussian(images):
    _, clean = images
    blurred = [
        cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (5, 5), 1.1, borderType=cv2.BORDER_REPLICATE)
        for image in clean
    ]
    target = torch.from_numpy(np.stack(blurred)).permute(0, 3, 1, 2)
    assert losses.low_frequency(target, clean).item() == pytest.approx(1e-3, rel=1e-4)
    assert losses.low_frequency(clean, clean).item() > 0.05


def test_the_regional_loss_sees_a_veil_and_no_texture():
    clean = torch.rand(1, 3, 32, 48)
    board = (torch.arange(32)[:, None] + torch.arange(48)) % 2 - 0.5
    assert losses.regional(clean + 0.4 * board, clean).item() == pytest.approx(1e-3, rel=1e-3)
    assert losses.regional(clean - 0.2, clean).item() == pytest.approx(0.2, abs=1e-4)


def test_every_image_counts_by_its_own_psnr():
    clean = torch.rand(2, 3, 8, 8)
    wrong = clean + torch.tensor([0.1, 1e-4]).view(2, 1, 1, 1)
    expected = (45 - 20 + 10 * math.log10(1 + 1e-8 * 10**4.5)) / 2
    assert losses.psnr_shortfall(wrong, clean).item() == pytest.approx(expected, abs=1e-2)


def test_restoration_is_the_sum_it_says(images):
    parts = losses.charbonnier(*images) + 0.05 * losses.edge(*images) + 0.1 * losses.colour(*images)
    assert losses.restoration(*images).item() == pytest.approx(parts.item())


def test_the_expected_error_learns_the_error_and_trains_no_image():
    estimate = torch.full((1, 3, 4, 4), 0.6, requires_grad=True)
    predicted = torch.zeros(1, 1, 4, 4, requires_grad=True)
    losses.expected_error(predicted, estimate, torch.full((1, 3, 4, 4), 0.5)).backward()
    assert estimate.grad is None and (predicted.grad < 0).all()
    exact = torch.full((1, 1, 4, 4), 0.1)
    assert losses.expected_error(exact, estimate, torch.full((1, 3, 4, 4), 0.5)).item() < 1e-9


@pytest.mark.parametrize("loss", (*COMPARISONS, losses.restoration))
def test_the_clean_image_is_the_minimum(loss, images):
    """Steps against the gradient lead from the noisy image towards the loss's minimum."""
    noisy, clean = images
    estimate = noisy.clone().requires_grad_()
    before = loss(estimate, clean)
    before.backward()
    step = 1e-3 * estimate.grad / estimate.grad.abs().max()
    assert loss(noisy - step, clean) < before
    if loss is not losses.low_frequency:
        assert loss(clean, clean) < 1.1e-3 < before


@pytest.mark.parametrize("loss", COMPARISONS)
def test_gradients_are_right(loss):
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(1, 3, 12, 11, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(loss, (a.requires_grad_(), b))


@pytest.mark.parametrize("loss", (*COMPARISONS, losses.restoration))
@pytest.mark.parametrize("level", [None, 0.0, 1.0])
def test_bfloat16_images_give_finite_losses_and_gradients(loss, level, images):
    noisy, clean = (x if level is None else torch.full_like(x, level) for x in images)
    noisy = noisy.bfloat16().requires_grad_()
    value = loss(noisy, clean.bfloat16())
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite() and noisy.grad.isfinite().all()


@pytest.mark.parametrize("loss", COMPARISONS)
def test_a_target_of_another_size_is_refused(loss):
    with pytest.raises(LearningError, match="equal shape"):
        loss(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))


def test_the_edge_losses_repeat_the_border_like_replicate_padding():
    image = torch.rand(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    for width in (1, 2):
        ours = _repeat_edges(image, width)
        expected = torch.nn.functional.pad(image, (width,) * 4, mode="replicate")
        assert torch.equal(ours, expected)
        weight = torch.rand_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad((ours * weight).sum(), image),
            torch.autograd.grad((expected * weight).sum(), image),
        )
