"""The scene parser alone."""

from __future__ import annotations

from torch import Tensor

from ros2_derain.learning import losses
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks import Parse

from .base import Task, add

CLASS_WEIGHT_POWER = 0.3
"""Weaker than usual: Lovasz-softmax looks after the rare classes too."""


class ParseTask(Task):
    """The scene parser, on whatever the clips show it: clean images, rainy ones, or both."""

    NETWORKS = {"parser": "scene_parser"}
    LOSS = {"semantic": 1.0, "lovasz": 0.5, "objects": 0.3}

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        weights = losses.class_weights(class_pixels, CLASS_WEIGHT_POWER)
        self.register_buffer("class_weights", weights, persistent=False)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        parts: dict[str, Tensor] = {}
        frames = batch["rain"].shape[1]
        for frame in range(frames):
            parse = self.parser(batch["rain"][:, frame].float() / 255)
            perceived(parts, parse, batch, frame, self.class_weights, 1 / frames)
        return self.total(parts)


def perceived(
    parts: dict[str, Tensor],
    parse: Parse,
    batch: dict[str, Tensor],
    frame: int,
    weights: Tensor,
    share: float,
) -> None:
    """Add what a parse of one of the clips' frames gets wrong.

    ``semantic``: cross-entropy at half, ``lovasz``: Lovasz-softmax at a quarter of the labels'
    size, where the logits lie; ``objects``: detection.
    """
    labels = batch["labels"][:, frame]
    labelled = (labels != 255).flatten(1).any(1)
    if labelled.any():
        logits, truth = parse.logits[labelled], labels[labelled]
        add(parts, "semantic", losses.segmentation(logits, truth[:, ::2, ::2], weights), share)
        add(parts, "lovasz", losses.lovasz(logits, truth), share)
    boxes = losses.detection(parse.levels, batch["boxes"][:, frame], batch["boxes_known"])
    add(parts, "objects", boxes, share)
