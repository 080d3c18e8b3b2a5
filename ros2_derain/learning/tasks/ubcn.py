"""UBCN: derainer and segmentation network in their closed loop, feature-level deraining beside it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ros2_derain.learning import losses
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks.ubcn import FeatureDiscriminator, Iteration, close_loop

from .base import Task, add, hold_statistics


class UbcnTask(Task):
    """UBCN (AAAI 2022), Eq. 7, averaged over the iterations.

    ``coarse`` and ``refined``: squared errors of C~ and C^; ``derained_semantic`` and
    ``clean_semantic``: cross-entropy of G_de on C~ and of G_ce on the clean image; ``adversarial``:
    what G_de's features lack to be taken for clean ones; ``discrimination``: the discriminator's own
    loss, whose gradient reaches nothing else. Not the paper's are ``objects``, which keeps the boxes of a
    parser that has them, and ``absolute``, the Charbonnier error of C~ and of C^: beside heavy rain's
    squared errors those of light rain hardly count.

    A weight of 0 for ``adversarial`` is UBCN without feature-level deraining: neither G_ce nor the
    discriminator exist then. Where ``init`` names the parser, G_ce starts from it too, and batch
    statistics stay what they were there. Option ``iterations``: T.
    """

    NETWORKS = {"derainer": "ubcn", "parser": "scene_parser"}
    LOSS = {
        "coarse": 1.0,
        "refined": 10.0,
        "derained_semantic": 1.0,
        "clean_semantic": 1.0,
        "adversarial": 1e-3,
        "discrimination": 1.0,
        "objects": 0.0,
        "absolute": 0.0,
    }
    OPTIONS = {"iterations": 3}

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        self.clean_parser = self.discriminator = None
        if recipe.loss["adversarial"]:
            self.clean_parser = recipe.networks["parser"].create()
            self.discriminator = FeatureDiscriminator(self.parser.feature_channels)

    def on_train_start(self) -> None:
        """G_ce starts as G_de; batch statistics of a parser that was trained before stay as they are."""
        if self.clean_parser is not None and not self.global_step:
            self.clean_parser.load_state_dict(self.parser.state_dict())
        if "parser" in self.recipe.init:
            hold_statistics(self)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = (batch[key].flatten(0, 1).float() / 255 for key in ("rain", "clean"))
        labels, frames = batch["labels"].flatten(0, 1), batch["rain"].shape[1]
        parts: dict[str, Tensor] = {}
        seen = None
        if self.clean_parser is not None:
            seen = self.clean_parser(clean)
            add(parts, "clean_semantic", losses.segmentation(seen.logits, labels))
        turns = self._turns(rain)
        for turn in turns:
            share = 1 / len(turns)
            add(parts, "coarse", functional.mse_loss(turn.coarse.float(), clean), share)
            add(parts, "refined", functional.mse_loss(turn.refined.float(), clean), share)
            if self.recipe.loss["absolute"]:
                for image in (turn.coarse, turn.refined):
                    add(parts, "absolute", losses.charbonnier(image, clean), share)
            add(parts, "derained_semantic", losses.segmentation(turn.segmentation.logits, labels), share)
            if seen is not None:
                derained = turn.segmentation.features
                add(parts, "adversarial", losses.alignment(self.discriminator, derained), share)
                judged = losses.discrimination(self.discriminator, derained, seen.features)
                add(parts, "discrimination", judged, share)
        if self.recipe.loss["objects"]:
            boxes, known = batch["boxes"].flatten(0, 1), batch["boxes_known"].repeat_interleave(frames)
            add(parts, "objects", losses.detection(turns[-1].segmentation.levels, boxes, known))
        return self.total(parts)

    def restore(self, rain: Tensor) -> tuple[Tensor, Tensor]:
        """The clean image of N x 3 x H x W in 0..1 after all iterations, and the last one's logits."""
        last = self._turns(rain)[-1]
        return last.refined, last.segmentation.logits

    def _turns(self, rain: Tensor) -> tuple[Iteration, ...]:
        return close_loop(self.derainer, self.parser, rain, round(self.recipe.options["iterations"]))
