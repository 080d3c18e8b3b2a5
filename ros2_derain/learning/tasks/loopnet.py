"""Training of the default model: derainer, parser and gauge alone; derainer and parser in their loop."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ros2_derain.learning import losses
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks import LoopNet, Parse, Restoration, SceneParser, WeatherGauge, prior_from_logits
from ros2_derain.networks.enlarging import STRIDE as ENLARGED_STRIDE
from ros2_derain.networks.enlarging import EnlargedParse
from ros2_derain.networks.scene_parser import enlarged_size, prior_from_probabilities
from ros2_derain.networks.weather_gauge import MASK_STRIDE, STRIDE

from .base import Task, add, hold_statistics

MOST_REFINEMENTS = 3


IMAGE_LOSSES = {
    "refined": losses.restoration,
    "plain": losses.charbonnier,
    "regional": losses.regional,
    "psnr": losses.psnr_shortfall,
}
"""Parts of a loss that compare the refined image; those whose weight is 0 are not computed.

``plain`` is the Charbonnier error alone, which is cheaper than ``refined``, ``regional`` that of the means
over squares, and ``psnr`` is how many dB the PSNR falls short of a bound.
"""
RESTORATION = {"refined": 1.0, "plain": 0.0, "regional": 0.0, "psnr": 0.0, "coarse": 0.3, "error": 0.1}


class DerainTask(Task):
    """The derainer, with a corrupted prior from ground-truth labels in place of a parser's.

    A clip's first frame is refined with the labels of its own frame (closed loop), the
    following ones with those of the frame before (temporal). A parser of road scenes
    finds classes in every photograph too, so unlabelled clips get a random prior, which carries no
    information. Options: ``without_prior`` is the share of clips whose refinement gets no prior; ``again`` is
    the share of steps with a second refinement of the first frame, and of these the share with a third.
    """

    NETWORKS = {"derainer": "loopnet"}
    COMPILED = {"derainer": ("coarse", "refine")}
    LOSS = {**RESTORATION, "presence": 0.05}
    OPTIONS = {"without_prior": 0.25, "again": 0.0}
    derainer: LoopNet

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = batch["rain"].float() / 255, batch["clean"].float() / 255
        follows = batch["follows"].float()[:, None, None, None]
        known = torch.rand_like(follows) >= self.recipe.options["without_prior"]
        parts: dict[str, Tensor] = {}
        state, frames = None, rain.shape[1]
        for frame in range(frames):
            target, labels = clean[:, frame], batch["labels"][:, max(0, frame - 1)]
            estimate = self.derainer.coarse(rain[:, frame], state, batch["raining"])
            state = estimate.state * follows if estimate.state is not None else None
            add(parts, "coarse", losses.charbonnier(estimate.image, target), 1 / frames)
            add(parts, "presence", presence(estimate.presence, batch["raining"]), 1 / frames)
            prior = corrupted_prior(prior_from_labels(labels, self.derainer.classes)) * follows
            prior = known * (prior + (1 - follows) * random_prior(prior))
            for _ in range(1 if frame else refinements(self.recipe.options["again"])):
                estimate = self.derainer.refine(rain[:, frame], estimate, prior)
                add_restoration_loss(parts, self.recipe, estimate, target, 1 / frames)
        return self.total(parts)


class ParseTask(Task):
    """The scene parser, on the clips' rainy frames: ``clips.dry`` is the share of clean ones."""

    NETWORKS = {"parser": "scene_parser"}
    COMPILED = {"parser": ("forward",)}
    LOSS = {"semantic": 1.0, "lovasz": 0.5, "objects": 0.3}
    parser: SceneParser

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        parts: dict[str, Tensor] = {}
        frames = batch["rain"].shape[1]
        for frame in range(frames):
            parse = self.parser(batch["rain"][:, frame].float() / 255)
            add_parser_loss(parts, parse, batch, frame, self.class_weights, 1 / frames)
        return self.total(parts)


class GaugeTask(Task):
    """The weather gauge on the first frames of clips: rain rate, contrast loss, pixels that water hides.

    The rate is compared in log(1 + mm/h); one that is read too low counts ``too_low`` times, because light
    rain, which is hard to tell from none, is read as none otherwise. Of streaks whose rate is unknown the
    gauge learns only that it rains at ``least_rate`` mm/h or more. Obstruction: binary cross-entropy, in
    which hidden pixels count ``hidden_weight`` times more because they are rare, and Dice loss, both at
    stride 2. ``train_rain`` 0 freezes what reads the rain rate, ``train_water`` 0 the rest.
    """

    NETWORKS = {"gauge": "weather_gauge"}
    LOSS = {"rate": 0.5, "contrast": 0.5, "hidden": 4.0, "dice": 2.0}
    OPTIONS = {"least_rate": 8.0, "too_low": 1.0, "hidden_weight": 3.0, "train_rain": 1.0, "train_water": 1.0}
    gauge: WeatherGauge

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        for name, part in self.gauge.named_children():
            part.requires_grad_(self._trains(name))

    def on_train_start(self) -> None:
        """What is frozen keeps its batch statistics too."""
        for name, part in self.gauge.named_children():
            if not self._trains(name):
                hold_statistics(part)

    def _trains(self, part: str) -> bool:
        return bool(self.recipe.options["train_rain" if part == "rain" else "train_water"])

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, rate = batch["rain"][:, 0].float() / 255, batch["rate"]
        log_rate = self.gauge.rain.log_rate(rain)
        error = log_rate - torch.log1p(rate.clamp(min=0))
        distance = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        short = functional.relu(math.log1p(self.recipe.options["least_rate"]) - log_rate) * batch["streaked"]
        too_low = (error < 0) | (rate < 0)
        loss = torch.where(rate >= 0, distance, short)
        parts = {"rate": (loss * torch.where(too_low, self.recipe.options["too_low"], 1.0)).mean()}
        if self.recipe.options["train_water"]:
            part = _with_any_edge(rain.shape[-2:])
            recent = batch["recent"].float() / 255 if "recent" in batch else rain
            water = batch["hidden"][:, :1].float() / 255
            contrast, hides = self.gauge.water_logits(rain[part], recent[part])
            hidden = functional.avg_pool2d(water[part], MASK_STRIDE)
            parts["contrast"] = functional.binary_cross_entropy_with_logits(contrast, batch["contrast_loss"])
            weight = 1 + self.recipe.options["hidden_weight"] * hidden
            parts["hidden"] = functional.binary_cross_entropy_with_logits(hides, hidden, weight=weight)
            parts["dice"] = losses.dice(hides, hidden)
        return self.total(parts)


def _with_any_edge(size: torch.Size) -> tuple[Any, slice, slice]:
    """An image, maybe without its last rows and columns: networks pad some sizes, and not others."""
    height, width = (side - STRIDE // 2 * int(torch.randint(2, ())) for side in size)
    return ..., slice(height), slice(width)


class LoopTask(Task):
    """Derainer and scene parser together, in the closed loop that they run in.

    A clip's first frame is restored with the prior of its own coarse image (closed loop),
    the following ones with the prior of the frame before (temporal), so that the weights
    serve both. The parser's loss also reaches the derainer, through the image.

    Options: ``again`` is the share of steps with a second refinement of the first frame, and of
    these the share with a third; ``without_prior`` is that of clips whose refinement gets no prior;
    ``train_parser`` 0 freezes the parser, and only the derainer learns; ``optimiser.rates`` with
    ``derainer: 0`` freezes that instead. ``enlarged`` is the share of steps in which the parser sees images
    enlarged, as the engine shows it small ones (if the parser has ``enlarged_below``).
    """

    NETWORKS = {"derainer": "loopnet", "parser": "scene_parser"}
    COMPILED = {"derainer": ("coarse", "refine"), "parser": ("forward",)}
    LOSS = {**RESTORATION, "presence": 0.05, "semantic": 0.1, "lovasz": 0.05, "objects": 0.03}
    OPTIONS = {"again": 0.4, "without_prior": 0.2, "train_parser": 1.0, "enlarged": 0.0}
    derainer: LoopNet
    parser: SceneParser

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        self.parser.requires_grad_(bool(recipe.options["train_parser"]))

    def on_train_start(self) -> None:
        """The parser's batch statistics are frozen: a batch has too few clips."""
        hold_statistics(self.parser)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = batch["rain"].float() / 255, batch["clean"].float() / 255
        follows = batch["follows"].float()[:, None, None, None]
        known = (torch.rand_like(follows) >= self.recipe.options["without_prior"]).float()
        size = self._parsed_size(rain.shape[-2:])
        truth = with_labels_of_size(batch, size)
        parts: dict[str, Tensor] = {}
        state = prior = None
        frames = rain.shape[1]
        for frame in range(frames):
            target = clean[:, frame]
            estimate = self.derainer.coarse(rain[:, frame], state, batch["raining"])
            state = estimate.state * follows if estimate.state is not None else None
            if self._trains(self.derainer):
                add(parts, "coarse", losses.charbonnier(estimate.image, target), 1 / frames)
                add(parts, "presence", presence(estimate.presence, batch["raining"]), 1 / frames)
            for again in range(1 if frame else refinements(self.recipe.options["again"])):
                if prior is None or again:
                    with torch.no_grad():
                        _, prior = self._parse(estimate.image.clamp(0, 1), size)
                estimate = self.derainer.refine(rain[:, frame], estimate, prior * known)
                if self._trains(self.derainer):
                    add_restoration_loss(parts, self.recipe, estimate, target, 1 / frames)
            parse, prior = self._parse(estimate.image, size)
            prior = prior * follows
            add_parser_loss(parts, parse, truth, frame, self.class_weights, 1 / (frames + 1))
        if self._trains(self.parser):  # so that dry scenes are not forgotten
            dry, _ = self._parse(clean[:, -1], size)
            add_parser_loss(parts, dry, truth, -1, self.class_weights, 1 / (frames + 1))
        return self.total(parts)

    def _trains(self, part: nn.Module) -> bool:
        return any(weight.requires_grad for weight in part.parameters())

    def _parsed_size(self, size: torch.Size) -> tuple[int, int]:
        """Height and width at which the parser sees this step's images."""
        height, width = size
        if float(torch.rand(())) >= self.recipe.options["enlarged"]:
            return height, width
        return enlarged_size(height, width, self.parser.enlarged_below)

    def _parse(self, image: Tensor, size: tuple[int, int]) -> tuple[Parse, Tensor]:
        """The parse of N x 3 x H x W at ``size``; the prior that it gives, at H x W, without gradient."""
        own = image.shape[-2], image.shape[-1]
        if size == own:
            parse = self.parser(image)
            return parse, prior_from_logits(parse.logits.detach())
        parse = self.parser(functional.interpolate(image, size=size, mode="bilinear", align_corners=False))
        found = EnlargedParse(parse, size, own).probabilities().detach()
        return parse, prior_from_probabilities(found, ENLARGED_STRIDE)


def with_labels_of_size(batch: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """A batch's ``labels`` and ``boxes`` for images of another height and width."""
    own = batch["labels"].shape[-2:]
    if own == size:
        return batch
    labels = functional.interpolate(batch["labels"].float(), size=size, mode="nearest-exact")
    class_and_edges = batch["boxes"].new_tensor([1.0, *2 * (size[1] / own[1], size[0] / own[0])])
    return {**batch, "labels": labels.to(batch["labels"].dtype), "boxes": batch["boxes"] * class_and_edges}


def refinements(again: float) -> int:
    """Number of refinements of a first frame, at random; ``again`` is the chance of each further one."""
    count = 1
    while count < MOST_REFINEMENTS and float(torch.rand(())) < again:
        count += 1
    return count


def add_restoration_loss(
    parts: dict[str, Tensor], recipe: Recipe, estimate: Restoration, target: Tensor, share: float
) -> None:
    """Add the loss of a refined image and of the error it is expected to have."""
    for name, measure in IMAGE_LOSSES.items():
        if recipe.loss[name]:
            add(parts, name, measure(estimate.image, target), share)
    add(parts, "error", losses.expected_error(estimate.error, estimate.image, target), share)


def add_parser_loss(
    parts: dict[str, Tensor],
    parse: Parse,
    batch: dict[str, Tensor],
    frame: int,
    weights: Tensor,
    share: float,
) -> None:
    """Add the parser's loss for one of the clips' frames.

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


def corrupted_prior(prior: Tensor) -> Tensor:
    """A prior like a real parser's: blurred, and wrong in patches. N x K x h x w in and out."""
    count, classes, height, width = prior.shape
    blurred = functional.avg_pool2d(prior, 5, 1, 2)
    prior = torch.lerp(prior, blurred, torch.rand(count, 1, 1, 1, device=prior.device))
    wrong = torch.rand(count, 1, 5, 7, device=prior.device) < 0.12
    wrong = functional.interpolate(wrong.float(), size=(height, width))
    other = torch.randint(classes, (count,), device=prior.device)
    other = functional.one_hot(other, classes).float()[:, :, None, None] * prior.sum(1, keepdim=True)
    return torch.lerp(prior, other, wrong)


def random_prior(prior: Tensor) -> Tensor:
    """A prior like a parser's of an unknown scene: random classes in soft patches. N x K x h x w."""
    count, classes, height, width = prior.shape
    logits = 6 * torch.randn(count, classes, 4, 5, device=prior.device)
    logits = functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return logits.softmax(1)
