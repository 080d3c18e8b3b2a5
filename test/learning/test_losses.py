"""Losses against values worked out by hand."""

import pytest
import torch

from ros2_derain.learning import losses
from ros2_derain.learning.detection_loss import assign, detection, generalised_iou
from ros2_derain.networks.detection import DetectionHead, cell_centres


def test_charbonnier_of_equal_images_is_epsilon():
    image = torch.rand(1, 3, 8, 8)
    assert losses.charbonnier(image, image).item() == pytest.approx(1e-3)
    assert losses.charbonnier(image + 0.3, image).item() == pytest.approx(0.3, abs=1e-4)


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
    assert losses.colour(red, green).item() == pytest.approx(1, abs=1e-5)


def test_unlabelled_pixels_do_not_count():
    logits, labels = torch.zeros(1, 3, 2, 2), torch.full((1, 8, 8), 255, dtype=torch.uint8)
    weights = torch.ones(3)
    assert losses.segmentation(logits, labels, weights).item() == 0
    labels[0, 0, 0] = 1
    assert losses.segmentation(logits, labels, weights).item() == pytest.approx(1.0986, abs=1e-4)


def test_the_expected_error_learns_the_error_and_trains_no_image():
    estimate = torch.full((1, 3, 4, 4), 0.6, requires_grad=True)
    predicted = torch.zeros(1, 1, 4, 4, requires_grad=True)
    losses.expected_error(predicted, estimate, torch.full((1, 3, 4, 4), 0.5)).backward()
    assert estimate.grad is None and (predicted.grad < 0).all()


def test_giou_by_hand():
    a, b = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]]), torch.tensor([[1.0, 0, 3, 2], [2, 0, 3, 1]])
    iou, giou = generalised_iou(a, b)
    assert iou.tolist() == pytest.approx([1 / 3, 0]) and giou.tolist() == pytest.approx([1 / 3, -1 / 3])


def test_a_cell_belongs_to_the_smallest_box_around_it():
    centres = torch.cat([cell_centres(64 // s, 64 // s, s, torch.device("cpu")) for s in (8, 16)])
    strides = torch.tensor([8.0] * 64 + [16.0] * 16)
    boxes = torch.tensor([[0, 0, 0, 60, 60], [1, 22, 22, 42, 42], [-1, 0, 0, 8, 8]]).float()
    cell, box = assign(centres, strides, boxes)
    middle = (centres[cell] - 32).abs().amax(1) < 6
    assert (box[middle & (strides[cell] == 8)] == 1).all() and middle.any()
    assert (strides[cell[box == 1]] == 8).all(), "20 pixels is for stride 8"
    assert {8.0, 16.0} == set(strides[cell[box == 0]].tolist()), "60 pixels is for both levels"
    assert not (box == 2).any()


def test_the_head_learns_one_box():
    torch.manual_seed(0)
    head, features = DetectionHead(8, 2, (8, 16, 32)), tuple(torch.rand(1, 8, s, s) for s in (8, 4, 2))
    boxes, known = torch.full((1, 4, 5), -1.0), torch.tensor([True])
    boxes[0, 0] = torch.tensor([1.0, 10, 12, 50, 52])
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = detection(head(features), boxes, known)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


def test_images_with_unknown_boxes_do_not_count():
    head, features = DetectionHead(8, 2, (8,)), (torch.rand(1, 8, 8, 8),)
    assert detection(head(features), torch.full((1, 4, 5), -1.0), torch.tensor([False])).item() == 0
