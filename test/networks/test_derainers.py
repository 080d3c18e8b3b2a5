"""The contract that every derainer keeps with the closed loop."""

import pytest
import tiny_model
import torch

from ros2_derain import networks
from ros2_derain.networks import Restoration
from ros2_derain.networks.ubcn import UbcnSegmenter, close_loop

OPTIONS = {"loopnet": tiny_model.OPTIONS["derainer"][1]} | tiny_model.PAPERS
CLASSES = len(tiny_model.CLASSES)


def tiny(name: str) -> networks.Derainer:
    torch.manual_seed(0)
    return networks.create(name, **OPTIONS[name]).eval()


def passes(derainer: networks.Derainer, rain: torch.Tensor) -> list[Restoration]:
    """A first frame, its refinement in a second iteration, and the frame that follows it."""
    torch.manual_seed(1)
    prior = torch.rand(1, CLASSES, *(-(-side // 8) for side in rain.shape[-2:])).expand(len(rain), -1, -1, -1)
    with torch.no_grad():
        coarse = derainer.coarse(rain)
        refined = derainer.refine(rain, derainer.again(rain, coarse), prior)
        following = derainer.refine(rain, derainer.coarse(rain, refined.state), None)
    return [coarse, refined, following]


def test_every_derainer_is_tried():
    assert sorted(OPTIONS) == sorted(networks.derainers())


@pytest.mark.parametrize("height, width", [(64, 64), (65, 71), (107, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPTIONS)
def test_any_size_type_and_layout_comes_out_as_it_went_in(name, layout, dtype, height, width):
    derainer = tiny(name).to(dtype)
    rain = torch.rand(2, 3, height, width).contiguous(memory_format=layout)
    first, again = passes(derainer, rain), passes(derainer, rain)
    for restoration, same in zip(first, again, strict=True):
        assert restoration.image.shape == rain.shape and restoration.image.dtype == torch.float32
        assert restoration.image.isfinite().all()
        assert restoration.error.shape == (2, 1, height, width) and (restoration.error >= 0).all()
        assert restoration.presence.shape == (2, 1, 1, 1)
        assert ((restoration.presence >= 0) & (restoration.presence <= 1)).all()
        assert torch.equal(restoration.image, same.image), "the same image must give the same result"


@pytest.mark.parametrize("name", OPTIONS)
def test_bfloat16_is_close_to_float32(name):
    derainer, rain = tiny(name), torch.rand(1, 3, 64, 64)
    exact = passes(derainer, rain)
    for near, restoration in zip(passes(derainer.bfloat16(), rain), exact, strict=True):
        torch.testing.assert_close(near.image, restoration.image, atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_images_of_a_batch_do_not_meet(name):
    derainer, rain = tiny(name), torch.rand(2, 3, 64, 64)
    for both, alone in zip(passes(derainer, rain), passes(derainer, rain[1:]), strict=True):
        torch.testing.assert_close(both.image[1:], alone.image)


@pytest.mark.parametrize("name", ["sapnet", "mspfn", "danet", "phpnet"])
def test_a_single_image_derainer_knows_no_prior_and_no_frame_before(name):
    derainer, rain = tiny(name), torch.rand(1, 3, 64, 80)
    with torch.no_grad():
        coarse = derainer.coarse(rain)
        assert torch.equal(coarse.image, derainer(rain).image)
        assert derainer.refine(rain, coarse, torch.rand(1, CLASSES, 8, 10)) is coarse
        assert derainer.again(rain, coarse) is coarse
    assert coarse.state is None and not derainer.takes_prior
    changed = (coarse.image.clamp(0, 1) - rain).abs().mean(1, keepdim=True)
    torch.testing.assert_close(coarse.error, 0.25 * changed)


def test_ubcn_s_three_steps_are_the_papers_loop():
    derainer, rain = tiny("ubcn"), torch.rand(1, 3, 64, 80)
    segmenter = UbcnSegmenter(CLASSES, "light").eval()
    with torch.no_grad():
        turns = close_loop(derainer, segmenter, rain, 2)
        restoration = derainer.coarse(rain)
        for turn in turns:
            torch.testing.assert_close(restoration.image, turn.coarse)
            restoration = derainer.refine(rain, restoration, segmenter(restoration.image).logits.softmax(1))
            torch.testing.assert_close(restoration.image, turn.refined)
            restoration = derainer.again(rain, restoration)
    assert derainer.takes_prior
