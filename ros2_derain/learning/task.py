"""What is trained: the loop (derainer and scene parser together, as they run) and the rain gauge.

A clip's first frame is restored with the prior of its own coarse image (closed loop),
the following ones with the prior of the frame before (temporal), so that the weights
serve both. Labels also teach the derainer: the parser's loss flows through the image.
"""

from __future__ import annotations

import math

import lightning
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from ros2_derain import networks
from ros2_derain.networks import prior_from_logits

from . import losses
from .detection_loss import detection
from .recipe import Recipe

CLASS_WEIGHT_POWER = 0.4


class Task(lightning.LightningModule):
    """What the tasks share: AdamW with a warm-up and a cosine down to 1 %."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.recipe = recipe

    def configure_optimizers(self):
        recipe = self.recipe
        optimizer = torch.optim.AdamW(self.parameters(), recipe.learning_rate, weight_decay=1e-4)

        def factor(step: int) -> float:
            if step < recipe.warm_up:
                return (step + 1) / recipe.warm_up
            done = min(1.0, (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up))
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class GaugeTask(Task):
    """The rain gauge: smooth L1 in log(1 + mm/h) over single frames."""

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe)
        self.gauge = networks.create("rain_gauge", **recipe.gauge)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, rate = batch["rain"].flatten(0, 1).float() / 255, batch["rate"]
        rate = rate[:, None].expand(batch["rain"].shape[:2]).flatten()
        error = self.gauge.log_rate(rain) - torch.log1p(rate.clamp(min=0))
        loss = (smooth_l1_loss(error, torch.zeros_like(error), reduction="none") * (rate >= 0)).mean()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss


class LoopTask(Task):
    """Derainer and scene parser.

    Args:
        recipe: the run.
        class_pixels: how often each semantic class occurs, for the class weights.
    """

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe)
        self.derainer = networks.create("loopnet", **recipe.derainer)
        self.parser = networks.create("scene_parser", **recipe.parser)
        pixels = torch.tensor(class_pixels, dtype=torch.float32)
        weights = (pixels.sum() / pixels.clamp(min=1)) ** CLASS_WEIGHT_POWER
        self.register_buffer("class_weights", weights / weights.mean(), persistent=False)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = batch["rain"].float() / 255, batch["clean"].float() / 255
        drop = (torch.rand(len(rain), 1, 1, 1, device=rain.device) >= self.recipe.without_prior).float()
        parts: dict[str, Tensor] = {}
        state = prior = None
        frames = rain.shape[1]
        for frame in range(frames):
            target, labels = clean[:, frame], batch["labels"][:, frame]
            estimate = self.derainer.coarse(rain[:, frame], state)
            state = estimate.state
            _add(parts, "coarse", losses.restoration(estimate.image, target))
            _add(parts, "error", losses.expected_error(estimate.error, estimate.image, target))
            rounds = 2 if frame == 0 and torch.rand(()) < self.recipe.again else 1
            for _ in range(rounds):
                if prior is None:
                    parse = self.parser(estimate.image)
                    _add(parts, "semantic", self._semantic(parse.logits, labels))
                    prior = prior_from_logits(parse.logits)
                estimate = self.derainer.refine(rain[:, frame], estimate, prior * drop)
                prior = None
                _add(parts, "refined", losses.restoration(estimate.image, target))
                _add(parts, "error", losses.expected_error(estimate.error, estimate.image, target))
            parse = self.parser(estimate.image)
            prior = prior_from_logits(parse.logits).detach()
            _add(parts, "semantic", self._semantic(parse.logits, labels))
            _add(parts, "objects", detection(parse.levels, batch["boxes"][:, frame], batch["boxes_known"]))
        dry = self.parser(target)
        _add(parts, "semantic", self._semantic(dry.logits, labels))
        _add(parts, "objects", detection(dry.levels, batch["boxes"][:, -1], batch["boxes_known"]))
        total = self._total({name: value / frames for name, value in parts.items()})
        self.log_dict({f"train/{name}": value.detach() / frames for name, value in parts.items()})
        self.log("loss", total.detach(), prog_bar=True)
        return total

    def _semantic(self, logits: Tensor, labels: Tensor) -> Tensor:
        return losses.segmentation(logits, labels, self.class_weights)

    def _total(self, parts: dict[str, Tensor]) -> Tensor:
        recipe = self.recipe
        weights = {
            "refined": 1.0,
            "coarse": recipe.coarse,
            "error": 1.0,
            "semantic": recipe.semantic,
            "objects": recipe.objects,
        }
        return sum(weights[name] * value for name, value in parts.items())


def _add(parts: dict[str, Tensor], name: str, value: Tensor) -> None:
    parts[name] = parts[name] + value if name in parts else value


TASKS = {"loop": LoopTask, "gauge": GaugeTask}
