"""Losses of label maps against values worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional

from ros2_derain.learning import losses

LABELLED = (losses.segmentation, losses.lovasz)


def sure(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits N x K x H x W that are certain of the labels."""
    return 100.0 * functional.one_hot(labels.long(), classes).movedim(3, 1).float()


@pytest.fixture
def labels() -> torch.Tensor:
    """2 x 8 x 8 ids of 3 classes."""
    return torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_unlabelled_pixels_do_not_count():
    logits, labels = torch.zeros(1, 3, 2, 2), torch.full((1, 8, 8), 255, dtype=torch.uint8)
    weights = torch.ones(3)
    assert losses.segmentation(logits, labels, weights).item() == 0
    labels[0, 0, 0] = 1
    assert losses.segmentation(logits, labels, weights).item() == pytest.approx(1.0986, abs=1e-4)


@pytest.mark.parametrize("loss", LABELLED)
def test_what_the_network_says_of_ignored_pixels_does_not_matter(loss, labels):
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels[:, 2:4] = 255
    changed = logits.clone()
    changed[:, :, 2:4] = 30 * torch.randn(2, 3, 2, 8)
    assert loss(logits, labels).item() == loss(changed, labels).item() > 0


@pytest.mark.parametrize("loss", LABELLED)
def test_without_labels_the_loss_and_its_gradient_are_zero(loss):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 16, 16), 255, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LABELLED)
def test_a_certain_right_answer_costs_nothing(loss, labels):
    assert loss(sure(labels, 3), labels).item() == pytest.approx(0, abs=1e-6)
    assert loss(sure((labels + 1) % 3, 3), labels).item() >= 1


@pytest.mark.parametrize("loss", (*LABELLED, lambda logits, labels: losses.unsupervised_focal(logits)))
def test_bfloat16_logits_give_finite_losses_and_gradients(loss, labels):
    logits = (1e4 * sure(labels, 3) - 5e5).bfloat16().requires_grad_()
    value = loss(logits, (labels + 1) % 3)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", LABELLED)
def test_gradients_are_right(loss, labels):
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: loss(x, labels[:1]), (logits.requires_grad_(),))


def test_class_weights_count_more_for_rare_classes():
    assert losses.class_weights([1, 99, 900], power=0).tolist() == [1, 1, 1]
    weights = losses.class_weights([100, 300, 0], power=1)
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[0] / weights[1]).item() == pytest.approx(3)
    assert weights[2].isfinite(), "a class that never occurs"


def test_segmentation_is_weighted_by_class():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]).view(1, 2, 1, 2)  # p of class 0: 1/4, 1/2
    labels = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    expected = (3 * math.log(4) + 1 * math.log(2)) / 4
    weighted = losses.segmentation(logits, labels, torch.tensor([3.0, 1.0]))
    assert weighted.item() == pytest.approx(expected, abs=1e-6)
    plain = losses.segmentation(logits, labels)
    assert plain.item() == pytest.approx((math.log(4) + math.log(2)) / 2, abs=1e-6)


def binary(probabilities: list[float]) -> torch.Tensor:
    """Logits 1 x 2 x 1 x P in which class 1 has the given probabilities."""
    p = torch.tensor(probabilities, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return torch.stack((torch.zeros_like(p), (p / (1 - p)).log())).view(1, 2, 1, -1)


def test_lovasz_by_hand():
    """One class, errors 0.8 (object) and 0.3 (background): 0.8 * 1 + 0.3 * 0 for the object (IoU is
    0 already when the only object pixel is wrong), and by symmetry 0.8 * 1/2 + 0.3 * 1/2."""
    logits, labels = binary([0.2, 0.3]), torch.tensor([[[1, 0]]], dtype=torch.uint8)
    assert losses.lovasz(logits, labels).item() == pytest.approx((0.8 + 0.55) / 2)


def test_lovasz_of_certain_answers_is_one_minus_the_mean_iou():
    labels = torch.tensor([[[0, 0, 0, 1, 1, 255]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 0, 1, 1, 1, 2]]])
    iou = (2 / 3 + 2 / 3) / 2  # class 2 is not present
    assert losses.lovasz(sure(said, 3), labels).item() == pytest.approx(1 - iou, abs=1e-6)


def test_lovasz_takes_the_label_at_each_cells_centre():
    cells = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    labels = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    labels[:, 2::4, 2::4] = cells
    assert losses.lovasz(sure(cells, 2), labels).item() == pytest.approx(0, abs=1e-6)
    assert losses.lovasz(sure(1 - cells, 2), labels).item() == pytest.approx(1, abs=1e-6)


def test_the_unsupervised_focal_loss_by_hand():
    logits = binary([0.8, 0.1])  # the network is sure to 0.8 and to 0.9
    expected = -(0.2**2 * math.log(0.8) + 0.1**2 * math.log(0.9)) / 2
    assert losses.unsupervised_focal(logits).item() == pytest.approx(expected)
    plain = -(math.log(0.8) + math.log(0.9)) / 2
    assert losses.unsupervised_focal(logits, alpha=2, gamma=0).item() == pytest.approx(2 * plain)
    assert torch.autograd.gradcheck(losses.unsupervised_focal, (logits.requires_grad_(),))
