"""A feature space that needs no download: the encoder of the project's own scene parser, frozen."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import Tensor, nn

from ros2_derain import models
from ros2_derain.networks import SceneParser
from ros2_derain.networks.segmentation import encode


class SceneFeatures(nn.Module):
    """Outputs of the encoder's four stages, at strides 4, 8, 16 and 32.

    Gradients flow to the image, none to the weights. Always in evaluation mode, whatever the
    module around it is set to. ``channels`` are those of the four maps.

    Args:
        parser: copied; training goes on with the original.

    Shapes: ``image`` N x 3 x H x W in 0..1 -> 4 maps N x C_s x ceil(H/32)*32/s x ceil(W/32)*32/s, >= 0.
    """

    def __init__(self, parser: SceneParser):
        super().__init__()
        self.channels = tuple(stage[0][0].out_channels for stage in parser.stages)
        self.stages = copy.deepcopy(nn.ModuleList(parser.stages)).requires_grad_(False).eval()

    @classmethod
    def of_model(cls, folder: Path) -> SceneFeatures:
        """From a model folder, as ``models.find("loopnet")`` gives it.

        Raises:
            ModelError: the folder holds no usable parser.
        """
        return cls(models.load(folder, ("parser",))[1]["parser"])

    def train(self, mode: bool = True) -> SceneFeatures:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(encode(image, self.stages))
