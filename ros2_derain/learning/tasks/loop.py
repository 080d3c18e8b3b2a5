"""The closed loop."""

from __future__ import annotations

import torch
from torch import Tensor

from ros2_derain.learning import losses
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks import prior_from_logits

from .base import Task, add, hold_statistics
from .derain import presence
from .parse import CLASS_WEIGHT_POWER, perceived

MOST_REFINEMENTS = 3


class LoopTask(Task):
    """Derainer and scene parser together, as they run.

    A clip's first frame is restored with the prior of its own coarse image (closed loop),
    the following ones with the prior of the frame before (temporal), so that the weights
    serve both. Labels also teach the derainer: the parser's loss flows through the image.

    Options: ``again`` is the share of steps with a second refinement of the first frame, and of
    these the share with a third; ``without_prior`` is that of clips whose refinement sees no prior;
    ``teach_parser`` is 0 where the parser stays as it is, and only the derainer learns.
    """

    NETWORKS = {"derainer": "loopnet", "parser": "scene_parser"}
    LOSS = {
        "refined": 1.0,
        "coarse": 0.3,
        "error": 0.1,
        "presence": 0.05,
        "semantic": 0.1,
        "lovasz": 0.05,
        "objects": 0.03,
    }
    OPTIONS = {"again": 0.4, "without_prior": 0.2, "teach_parser": 1.0}

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        weights = losses.class_weights(class_pixels, CLASS_WEIGHT_POWER)
        self.register_buffer("class_weights", weights, persistent=False)
        self.parser.requires_grad_(bool(recipe.options["teach_parser"]))

    def on_train_start(self) -> None:
        """Batch statistics stay what the parser's own training made them: clips are too few."""
        hold_statistics(self.parser)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = batch["rain"].float() / 255, batch["clean"].float() / 255
        follows = batch["follows"].float()[:, None, None, None]
        known = (torch.rand_like(follows) >= self.recipe.options["without_prior"]).float()
        parts: dict[str, Tensor] = {}
        state = prior = None
        frames = rain.shape[1]
        for frame in range(frames):
            target = clean[:, frame]
            estimate = self.derainer.coarse(rain[:, frame], state, batch["raining"])
            state = estimate.state * follows
            add(parts, "coarse", losses.charbonnier(estimate.image, target), 1 / frames)
            add(parts, "presence", presence(estimate.presence, batch["raining"]), 1 / frames)
            for again in range(1 if frame else self._refinements()):
                if prior is None or again:
                    prior = self._prior(estimate.image)
                estimate = self.derainer.refine(rain[:, frame], estimate, prior * known)
                add(parts, "refined", losses.restoration(estimate.image, target), 1 / frames)
                error = losses.expected_error(estimate.error, estimate.image, target)
                add(parts, "error", error, 1 / frames)
            parse = self.parser(estimate.image)
            prior = prior_from_logits(parse.logits).detach() * follows
            perceived(parts, parse, batch, frame, self.class_weights, 1 / (frames + 1))
        if self.recipe.options["teach_parser"]:  # dry scenes must not be forgotten
            dry = self.parser(clean[:, -1])
            perceived(parts, dry, batch, -1, self.class_weights, 1 / (frames + 1))
        return self.total(parts)

    def _refinements(self) -> int:
        """How often a clip's first frame is refined."""
        count = 1
        while count < MOST_REFINEMENTS and float(torch.rand(())) < self.recipe.options["again"]:
            count += 1
        return count

    @torch.no_grad()
    def _prior(self, image: Tensor) -> Tensor:
        return prior_from_logits(self.parser(image.clamp(0, 1)).logits)
