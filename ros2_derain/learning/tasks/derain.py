"""The derainer alone, before the loop is closed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.learning import losses

from .base import Task, add


class DerainTask(Task):
    """The derainer, with ground-truth labels, spoilt a little, in place of a parser's prior.

    A clip's first frame is refined with the labels of its own frame (closed loop), the
    following ones with those of the frame before (temporal). A parser of road scenes sees
    something in every photograph too, so unlabelled clips get an imagined prior, which tells
    nothing. Option ``without_prior`` is the share of clips whose refinement sees no prior.
    """

    NETWORKS = {"derainer": "loopnet"}
    LOSS = {"refined": 1.0, "coarse": 0.3, "error": 0.1, "presence": 0.05}
    OPTIONS = {"without_prior": 0.25}

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = batch["rain"].float() / 255, batch["clean"].float() / 255
        follows = batch["follows"].float()[:, None, None, None]
        known = torch.rand_like(follows) >= self.recipe.options["without_prior"]
        parts: dict[str, Tensor] = {}
        state, frames = None, rain.shape[1]
        for frame in range(frames):
            target, labels = clean[:, frame], batch["labels"][:, max(0, frame - 1)]
            estimate = self.derainer.coarse(rain[:, frame], state, batch["raining"])
            state = estimate.state * follows
            add(parts, "coarse", losses.charbonnier(estimate.image, target), 1 / frames)
            add(parts, "presence", presence(estimate.presence, batch["raining"]), 1 / frames)
            prior = spoilt(prior_from_labels(labels, self.derainer.classes)) * follows
            prior = known * (prior + (1 - follows) * imagined(prior))
            estimate = self.derainer.refine(rain[:, frame], estimate, prior)
            add(parts, "refined", losses.restoration(estimate.image, target), 1 / frames)
            error = losses.expected_error(estimate.error, estimate.image, target)
            add(parts, "error", error, 1 / frames)
        return self.total(parts)


def presence(predicted: Tensor, raining: Tensor) -> Tensor:
    """Binary cross-entropy of the derainer's N x 1 x 1 x 1 presence of rain against N bool."""
    with torch.autocast(predicted.device.type, enabled=False):
        predicted = predicted.float().flatten().clamp(1e-6, 1 - 1e-6)
        return functional.binary_cross_entropy(predicted, raining.float())


def prior_from_labels(labels: Tensor, classes: int) -> Tensor:
    """N x H x W uint8 labels (255 = unlabelled) -> the N x K x H/8 x W/8 prior of a perfect parser."""
    sparse = labels[:, ::2, ::2].long()
    planes = functional.one_hot(sparse.clamp(max=classes), classes + 1)[..., :classes]
    return functional.avg_pool2d(planes.permute(0, 3, 1, 2).float(), 4, ceil_mode=True)


def spoilt(prior: Tensor) -> Tensor:
    """A prior as a real parser gives it: blurred, and wrong in patches. N x K x h x w."""
    count, classes, height, width = prior.shape
    blurred = functional.avg_pool2d(prior, 5, 1, 2)
    prior = torch.lerp(prior, blurred, torch.rand(count, 1, 1, 1, device=prior.device))
    wrong = torch.rand(count, 1, 5, 7, device=prior.device) < 0.12
    wrong = functional.interpolate(wrong.float(), size=(height, width))
    other = torch.randint(classes, (count,), device=prior.device)
    other = functional.one_hot(other, classes).float()[:, :, None, None] * prior.sum(1, keepdim=True)
    return torch.lerp(prior, other, wrong)


def imagined(prior: Tensor) -> Tensor:
    """A prior as a parser gives it of what it doesn't know: random classes in soft patches. N x K x h x w."""
    count, classes, height, width = prior.shape
    logits = 6 * torch.randn(count, classes, 4, 5, device=prior.device)
    logits = functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return logits.softmax(1)
