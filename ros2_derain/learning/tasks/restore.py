"""A single-image derainer by the objective of its paper: SAPNet, MSPFN, DANet, PHP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from ros2_derain import models, networks
from ros2_derain.data import CAMVID_CLASSES
from ros2_derain.learning import losses
from ros2_derain.learning.errors import LearningError
from ros2_derain.learning.recipe import Recipe
from ros2_derain.networks.sapnet import BackgroundSegmenter

from .base import Task

FEATURES_OF = "loopnet"
"""The model whose frozen parser is the feature space of SAPNet's losses, where the paper has VGG-16,
AlexNet and ResNet-101 with weights of ImageNet."""

FROZEN = ("focal", "contrast", "perceptual")
"""Parts of the loss that look through the frozen parser."""


@dataclass(frozen=True)
class Attempt:
    """What the parts of the loss may look at; images N x 3 x H x W, labels N x H x W.

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


PARTS: dict[str, Callable[[RestoreTask, Attempt], Tensor]] = {
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


class RestoreTask(Task):
    """A derainer that knows one rainy image and no more, on every frame of a clip by itself.

    A part of the loss whose weight is 0 is not computed. ``half`` and ``half_ssim`` want DANet,
    ``low_frequency``, ``colour`` and ``semantic`` the PHP network, whose auxiliary segmentation
    network has the derainer's own structure and is thrown away in the end.

    Option ``focal_from``: the share of the run after which SAPNet's focal loss counts. Its decoder is
    drawn anew at every step, as in the released code.

    Raises:
        LearningError: the network lacks what a part of the loss looks at.
    """

    NETWORKS = {"derainer": "danet"}
    LOSS = {name: float(name == "charbonnier") for name in PARTS}
    OPTIONS = {"focal_from": 0.0}

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
            self.background = BackgroundSegmenter(self.features, widths=self.features.channels)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, clean = (batch[key].flatten(0, 1).float() / 255 for key in ("rain", "clean"))
        attempt = Attempt(self.derainer(rain), rain, clean, batch["labels"].flatten(0, 1))
        parts = self.parts
        if self.global_step < self.recipe.options["focal_from"] * self.recipe.steps:
            parts = [name for name in parts if name != "focal"]
        if "focal" in parts:
            self.background.redraw()
        return self.total({name: PARTS[name](self, attempt) for name in parts})

    def restore(self, rain: Tensor) -> tuple[Tensor, None]:
        """The clean image of N x 3 x H x W in 0..1, and that there are no labels."""
        return self.derainer(rain).image, None
