"""Training of the papers' networks by their objectives: SAPNet, MSPFN, DANet, PHP (restore) and UBCN."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ros2_derain import metrics, models, networks
from ros2_derain.data import CAMVID_CLASSES, CamVid
from ros2_derain.learning import LearningError, losses, sources
from ros2_derain.learning.random_rain import random_rain
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks import SceneParser
from ros2_derain.networks.derainer import SingleImageDerainer
from ros2_derain.networks.sapnet import BackgroundSegmenter
from ros2_derain.networks.ubcn import (
    FeatureDiscriminator,
    Iteration,
    UbcnDerainer,
    UbcnSegmenter,
    close_loop,
)
from ros2_derain.rain import RainRenderer

from .base import Task, add, hold_statistics

FEATURES_OF = "loopnet"
"""The model whose frozen parser is the feature space of SAPNet's losses, where the paper has VGG-16,
AlexNet and ResNet-101 with weights of ImageNet."""

ROAD_SCENES = 10
"""Images of camvid/val for the mIoU, evenly spaced."""

FROZEN = ("focal", "contrast", "perceptual")
"""Parts of the loss that are computed on features of the frozen parser."""


@dataclass(frozen=True)
class Restored:
    """What the parts of the loss are computed from; images N x 3 x H x W, labels N x H x W.

    ``result`` is what the network's ``forward`` gave: ``image``, and ``half`` or ``coarse`` of some.
    """

    result: Any
    rain: Tensor
    clean: Tensor
    labels: Tensor

    @property
    def clean_half(self) -> Tensor:
        """The clean image at the size of ``result.half``."""
        size = self.result.half.shape[-2:]
        return functional.interpolate(self.clean, size=size, mode="bilinear", align_corners=False)


PARTS: dict[str, Callable[[RestoreTask, Restored], Tensor]] = {
    "charbonnier": lambda task, a: losses.charbonnier(a.result.image, a.clean),
    "edge": lambda task, a: losses.edge(a.result.image, a.clean),
    "ssim": lambda task, a: losses.ssim(a.result.image, a.clean),
    "half": lambda task, a: losses.charbonnier(a.result.half, a.clean_half),
    "half_ssim": lambda task, a: losses.ssim(a.result.half, a.clean_half),
    "low_frequency": lambda task, a: losses.low_frequency(a.result.coarse, a.clean),
    "colour": lambda task, a: losses.colour(a.result.coarse, a.clean),
    "semantic": lambda task, a: losses.segmentation(task.segmenter(a.result.coarse), a.labels),
    "focal": lambda task, a: losses.unsupervised_focal(task.background(a.result.image)),
    "contrast": lambda task, a: losses.contrastive(task.features, a.result.image, a.clean, a.rain),
    "image_contrast": lambda task, a: losses.contrast_ratio(a.result.image, a.clean, a.rain),
    "perceptual": lambda task, a: losses.perceptual_distance(task.features, a.result.image, a.clean),
}
"""The parts of the papers' losses, each unweighted: the recipe has the weights."""


class PaperTask(Task):
    """A task whose networks restore an image, and so can be scored on pairs of images."""

    def restore(self, rain: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clean image of N x 3 x H x W in 0..1, and the logits of its labels, if any."""
        raise NotImplementedError

    @torch.no_grad()
    def score(self, data: Path) -> dict[str, float]:
        """Figures of the present weights.

        Returns:
            ``psnr_y_db`` and ``ssim_y``, means over the recipe's held-out pairs, if it has any; of a
            task with a parser ``miou``, per cent, over rainy frames of camvid/val.
        """
        figures = {}
        pairs = sources.held_out_pairs(self.recipe.streaks, data)
        restored = [(_image(self.restore(self._tensor(pair.rain))[0]), pair.clean) for pair in pairs]
        if restored:
            figures["psnr_y_db"] = statistics.fmean(metrics.psnr_y(*images) for images in restored)
            figures["ssim_y"] = statistics.fmean(metrics.ssim_y(*images) for images in restored)
        if hasattr(self, "parser"):
            figures["miou"] = 100 * self._road_miou(CamVid(data / "camvid" / "val"))
        return figures

    def validate(self, data: Path) -> dict[str, float]:
        """:meth:`score`, and by which of the figures the best weights are chosen, ``score``.

        Raises:
            LearningError: the recipe holds out no pairs.
        """
        figures = self.score(data)
        if "psnr_y_db" not in figures:
            raise LearningError("validate_every: the recipe's streaks hold out no pairs to validate on")
        return figures | {"score": figures["psnr_y_db"]}

    def _road_miou(self, scenes: CamVid) -> float:
        """Over road scenes in the same rain, whatever the recipe and its seed."""
        total = np.zeros((len(CAMVID_CLASSES), len(CAMVID_CLASSES) + 1), np.int64)
        chosen = np.linspace(0, len(scenes) - 1, min(ROAD_SCENES, len(scenes)), dtype=int)
        for number, index in enumerate(chosen):
            sample = scenes[index]
            height, width = sample.image.shape[:2]
            rain = RainRenderer(random_rain(0, number, True).rain, height, width, seed=number)
            logits = self.restore(self._tensor(rain.render(sample.image)))[1]
            assert logits is not None and sample.labels is not None, "a task with a parser, labelled scenes"
            logits = functional.interpolate(logits, size=(height, width), mode="bilinear")
            labels = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
            total += metrics.confusion(labels, sample.labels, len(CAMVID_CLASSES))
        return metrics.mean_iou(total)

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255


def _image(tensor: Tensor) -> np.ndarray:
    return tensor[0].clamp(0, 1).mul(255).add(0.5).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


class RestoreTask(PaperTask):
    """A single-image derainer, on every frame of a clip by itself.

    A part of the loss whose weight is 0 is not computed. ``half`` and ``half_ssim`` need DANet,
    ``low_frequency``, ``colour`` and ``semantic`` the PHP network, whose auxiliary segmentation
    network has the derainer's own structure and is not exported.

    Option ``focal_from``: the share of the run after which SAPNet's focal loss counts. Its decoder is
    redrawn at every step, as in the released code.

    Raises:
        LearningError: a part of the loss belongs to another network.
    """

    NETWORKS = {"derainer": "danet"}
    COMPILED = {"derainer": ("forward",)}
    LOSS = {name: float(name == "charbonnier") for name in PARTS}
    OPTIONS = {"focal_from": 0.0}
    derainer: SingleImageDerainer
    segmenter: nn.Module
    features: losses.SceneFeatures
    background: BackgroundSegmenter

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        self.parts = [name for name, weight in recipe.loss.items() if weight]
        derainer = recipe.networks["derainer"]
        for parts, network in (
            (("half", "half_ssim"), "danet"),
            (("low_frequency", "colour", "semantic"), "phpnet"),
        ):
            wrong = set(parts) & set(self.parts)
            if wrong and derainer.network != network:
                raise LearningError(
                    f"loss: {', '.join(sorted(wrong))} is for {network}, not {derainer.network}"
                )
        if "semantic" in self.parts:
            self.segmenter = networks.create("php_segmenter", classes=len(CAMVID_CLASSES), **derainer.options)
        if set(FROZEN) & set(self.parts):
            self.features = losses.SceneFeatures.of_model(models.find(FEATURES_OF))
            self.background = BackgroundSegmenter(self.features)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = (batch[key].flatten(0, 1).float() / 255 for key in ("rain", "clean"))
        restored = Restored(self.derainer(rain), rain, clean, batch["labels"].flatten(0, 1))
        parts = self.parts
        if self.global_step < self.recipe.options["focal_from"] * self.recipe.steps:
            parts = [name for name in parts if name != "focal"]
        if "focal" in parts:
            self.background.redraw()
        return self.total({name: PARTS[name](self, restored) for name in parts})

    def restore(self, rain: Tensor) -> tuple[Tensor, None]:
        """The clean image of N x 3 x H x W in 0..1, without labels."""
        return self.derainer(rain).image, None


class UbcnTask(PaperTask):
    """UBCN (AAAI 2022), Eq. 7, averaged over the iterations.

    ``coarse`` and ``refined``: squared errors of C~ and C^; ``derained_semantic`` and
    ``clean_semantic``: cross-entropy of G_de on C~ and of G_ce on the clean image; ``adversarial``:
    how far G_de's features are from being classified as clean; ``discrimination``: the discriminator's own
    loss, whose gradient reaches nothing else. Not the paper's are ``objects``, which keeps the boxes of a
    parser that has them, and ``absolute``, the Charbonnier error of C~ and of C^: the
    squared errors of heavy rain outweigh those of light rain.

    A weight of 0 for ``adversarial`` is UBCN without feature-level deraining: neither G_ce nor the
    discriminator exist then. Where ``init`` names the parser, G_ce starts from it too, and its batch
    statistics are frozen. Option ``iterations``: T.
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
    derainer: UbcnDerainer
    parser: SceneParser | UbcnSegmenter
    clean_parser: nn.Module | None
    discriminator: FeatureDiscriminator | None

    def __init__(self, recipe: Recipe, class_pixels: list[int]):
        super().__init__(recipe, class_pixels)
        self.clean_parser = self.discriminator = None
        if recipe.loss["adversarial"]:
            self.clean_parser = recipe.networks["parser"].create()
            self.discriminator = FeatureDiscriminator(self.parser.feature_channels)

    def on_train_start(self) -> None:
        """G_ce starts as a copy of G_de; batch statistics of a parser from ``init`` are frozen."""
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
        iterations = self._iterations(rain)
        for one in iterations:
            share = 1 / len(iterations)
            add(parts, "coarse", functional.mse_loss(one.coarse.float(), clean), share)
            add(parts, "refined", functional.mse_loss(one.refined.float(), clean), share)
            if self.recipe.loss["absolute"]:
                for image in (one.coarse, one.refined):
                    add(parts, "absolute", losses.charbonnier(image, clean), share)
            add(parts, "derained_semantic", losses.segmentation(one.segmentation.logits, labels), share)
            if seen is not None and self.discriminator is not None:
                derained = one.segmentation.features
                assert derained is not None and seen.features is not None
                add(parts, "adversarial", losses.alignment(self.discriminator, derained), share)
                discrimination = losses.discrimination(self.discriminator, derained, seen.features)
                add(parts, "discrimination", discrimination, share)
        if self.recipe.loss["objects"]:
            boxes, known = batch["boxes"].flatten(0, 1), batch["boxes_known"].repeat_interleave(frames)
            add(parts, "objects", losses.detection(iterations[-1].segmentation.levels, boxes, known))
        return self.total(parts)

    def restore(self, rain: Tensor) -> tuple[Tensor, Tensor]:
        """The clean image of N x 3 x H x W in 0..1 after all iterations, and the last one's logits."""
        last = self._iterations(rain)[-1]
        return last.refined, last.segmentation.logits

    def _iterations(self, rain: Tensor) -> tuple[Iteration, ...]:
        return close_loop(self.derainer, self.parser, rain, round(self.recipe.options["iterations"]))
