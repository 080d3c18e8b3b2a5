"""Losses in a feature space, and the feature space that needs no download.

``extractor`` maps images (N x 3 x H x W in 0..1) to a sequence of feature maps, shallow to
deep. The papers take VGG and AlexNet with weights learned on ImageNet; here
:class:`SceneFeatures` takes their place.

Feature-level adversarial alignment is UBCN's (AAAI 2022, Eq. 2): a discriminator D maps the
parser's features (N x C x h x w) to logits of any shape, high for the features of a clean image.
D maximises ``log(1 - D(derained)) + log D(clean)``; the parser is trained so that D takes its
features of the derained image for those of a clean one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ros2_derain import models
from ros2_derain.learning import LearningError
from ros2_derain.networks import SceneParser
from ros2_derain.networks.scene_parser import encode

from .image import pair, single

Extractor = Callable[[Tensor], Sequence[Tensor]]

LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
EPSILON = 1e-7
PERCEPTUAL_SIZE = 256


def contrast_ratio(derained: Tensor, clean: Tensor, rain: Tensor) -> Tensor:
    """L1(derained, clean) / (L1(derained, rain) + 1e-7), any equal shapes, each L1 averaged over the batch.

    0 when derained = clean; 1 half-way between clean and rain; grows to 1e7 x L1 as the derained
    image stays the rainy one. The clean and the rainy side get no gradient. A batch needs some rain:
    where rain = clean the ratio is about 1 for any result. On images rather than features this
    is the ablation "L1-CL" of SAPNet (WACVW 2022), Table 3.
    """
    derained, clean = pair(derained, clean.detach())
    _, rain = pair(derained, rain.detach())
    return (derained - clean).abs().mean() / ((derained - rain).abs().mean() + EPSILON)


def contrastive(
    extractor: Extractor,
    derained: Tensor,
    clean: Tensor,
    rain: Tensor,
    weights: Sequence[float] = LAYER_WEIGHTS,
) -> Tensor:
    """Perceptual contrastive loss: the weighted sum over layers of :func:`contrast_ratio`.

    0 when derained = clean. SAPNet, Eq. 5, layer weights 1/32, 1/16, 1/8, 1/4 from shallow to deep;
    printed weight 0.1 (Eq. 7; the authors' code multiplies by another 4).

    Raises:
        LearningError: there are not as many weights as feature maps.
    """
    features = extractor(derained)
    if len(features) != len(weights):
        raise LearningError(
            f"{len(weights)} layer weights for {len(features)} feature maps; give one per map"
        )
    with torch.no_grad():
        references = [layer.chunk(2) for layer in extractor(torch.cat((clean, rain)))]
    ratios = (contrast_ratio(x, *reference) for x, reference in zip(features, references, strict=True))
    return reduce(torch.add, (weight * ratio for weight, ratio in zip(weights, ratios, strict=True)))


def perceptual_distance(extractor: Extractor, derained: Tensor, clean: Tensor) -> Tensor:
    """LPIPS-style distance of the whole images, resized to 256 x 256.

    Feature vectors are scaled to unit length at each place; their squared distance is averaged over
    places and layers. 0 when derained = clean; at most 2 for features >= 0 (4 else). The clean
    side gets no gradient. SAPNet, Eq. 6; printed weight 0.1 (Eq. 7).
    """
    derained, clean = pair(derained, clean.detach())
    features = extractor(_resize(derained))
    with torch.no_grad():
        references = extractor(_resize(clean))
    distances = [_unit_distance(*pair(a, b)) for a, b in zip(features, references, strict=True)]
    return torch.stack(distances).mean()


def _resize(image: Tensor) -> Tensor:
    size = (PERCEPTUAL_SIZE, PERCEPTUAL_SIZE)
    return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _unit_distance(a: Tensor, b: Tensor) -> Tensor:
    difference = functional.normalize(a, dim=1, eps=1e-6) - functional.normalize(b, dim=1, eps=1e-6)
    return difference.square().sum(1).mean()


class SceneFeatures(nn.Module):
    """The encoder of the scene parser, frozen: outputs of its four stages, at strides 4, 8, 16 and 32.

    Gradients flow to the image, none to the weights. Always in evaluation mode, whatever the
    module around it is set to. ``channels`` are those of the four maps.

    Args:
        parser: copied; the original is trained further.

    Shapes: ``image`` N x 3 x H x W in 0..1 -> 4 maps N x C_s x ceil(H/32)*32/s x ceil(W/32)*32/s, >= 0.
    """

    def __init__(self, parser: SceneParser):
        super().__init__()
        self.channels = parser.widths
        self.stages = copy.deepcopy(nn.ModuleList(parser.stages)).requires_grad_(False).eval()

    @classmethod
    def of_model(cls, folder: Path) -> SceneFeatures:
        """From a model folder, as ``models.find("loopnet")`` gives it.

        Raises:
            ModelError: the folder holds no usable parser.
        """
        parser = models.load(folder, ("parser",))[1]["parser"]
        assert isinstance(parser, SceneParser)
        return cls(parser)

    def train(self, mode: bool = True) -> SceneFeatures:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(encode(image, self.stages))


def discrimination(discriminator: nn.Module, derained: Tensor, clean: Tensor) -> Tensor:
    """The discriminator's side: -log(1 - D(derained)) - log D(clean), each averaged.

    Trains D only: no gradient reaches the features. 0 when it separates all, 2 log 2 at chance.
    """
    of_derained = single(discriminator(derained.detach()))
    of_clean = single(discriminator(clean.detach()))
    return functional.softplus(of_derained).mean() + functional.softplus(-of_clean).mean()


def alignment(discriminator: nn.Module, derained: Tensor) -> Tensor:
    """The parser's side: mean -log D(derained), the non-saturating form.

    Trains the features only: no gradient reaches D's weights. At least 0; log 2 when D is at
    chance. Printed weight 1e-3 (Eq. 7).
    """
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return functional.softplus(-single(functional_call(discriminator, frozen, (derained,)))).mean()
