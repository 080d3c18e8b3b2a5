"""Targets and losses of the detection head against values worked out by hand."""

import math

import pytest
import torch

from ros2_derain.learning import losses
from ros2_derain.learning.losses.perception import assign, generalised_iou
from ros2_derain.networks.scene_parser import DetectionHead, cell_centres


def test_giou_by_hand():
    a, b = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]]), torch.tensor([[1.0, 0, 3, 2], [2, 0, 3, 1]])
    iou, giou = generalised_iou(a, b)
    assert iou.tolist() == pytest.approx([1 / 3, 0]) and giou.tolist() == pytest.approx([1 / 3, -1 / 3])


def test_giou_loss_by_hand():
    a, b = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]]), torch.tensor([[1.0, 0, 3, 2], [2, 0, 3, 1]])
    assert losses.giou_loss(a, b).item() == pytest.approx(1 - (1 / 3 - 1 / 3) / 2)
    assert losses.giou_loss(a, a).item() == losses.giou_loss(a[:0], b[:0]).item() == 0


def test_giou_moves_boxes_that_do_not_overlap_together():
    box, target = torch.tensor([[0.0, 0, 1, 1]], requires_grad=True), torch.tensor([[5.0, 0, 6, 1]])
    losses.giou_loss(box, target).backward()
    assert box.grad[0, 2] < 0


def test_gradients_of_giou_are_right():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [3, 3, 9, 8]], dtype=torch.float64)
    b = torch.tensor([[1.0, 0.5, 3, 2.5], [2, 0.2, 3, 1.1], [4, 4, 6, 6]], dtype=torch.float64)
    assert torch.autograd.gradcheck(losses.giou_loss, (a.requires_grad_(), b))


def test_quality_focal_by_hand():
    logits, quality = torch.tensor([0.0, 0.0, 40.0, -40.0]), torch.tensor([1.0, 0.5, 1.0, 0.0])
    values = losses.quality_focal(logits, quality)
    assert values.tolist() == pytest.approx([0.25 * math.log(2), 0, 0, 0], abs=1e-6)
    wrong = losses.quality_focal(torch.tensor([20.0]), torch.tensor([0.0]))
    assert wrong.item() == pytest.approx(20, rel=1e-4), "a sure mistake costs its whole cross-entropy"


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
        loss = losses.detection(head(features), boxes, known)
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


def test_images_with_unknown_boxes_do_not_count():
    head, features = DetectionHead(8, 2, (8,)), (torch.rand(1, 8, 8, 8),)
    assert losses.detection(head(features), torch.full((1, 4, 5), -1.0), torch.tensor([False])).item() == 0


def test_a_batch_without_room_for_boxes_is_all_background():
    head, features = DetectionHead(8, 2, (8,)), (torch.rand(2, 8, 8, 8),)
    boxes = torch.full((2, 3, 5), -1.0)
    empty, none = (
        losses.detection(head.eval()(features), b, torch.ones(2, dtype=torch.bool))
        for b in (boxes, boxes[:, :0])
    )
    assert empty.item() == none.item() > 0


def test_half_precision_outputs_of_the_head_give_a_finite_loss():
    head, features = DetectionHead(8, 2, (8, 16, 32)), tuple(torch.rand(1, 8, s, s) for s in (8, 4, 2))
    boxes = torch.tensor([[[1.0, 10, 12, 50, 52]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses.detection(head(features), boxes, torch.tensor([True]))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in head.parameters())
