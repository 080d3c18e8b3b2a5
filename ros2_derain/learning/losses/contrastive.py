"""Losses in a feature space: closer to the clean image than to the rainy one.

``extractor`` maps images (N x 3 x H x W in 0..1) to a sequence of feature maps, shallow to
deep. The papers take VGG and AlexNet with weights learned on ImageNet; here
:class:`.features.SceneFeatures` takes their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.learning.errors import LearningError

from .precision import pair

Extractor = Callable[[Tensor], Sequence[Tensor]]

LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
EPSILON = 1e-7
PERCEPTUAL_SIZE = 256


def contrast_ratio(derained: Tensor, clean: Tensor, rain: Tensor) -> Tensor:
    """L1(derained, clean) / (L1(derained, rain) + 1e-7), any equal shapes, each L1 averaged over the batch.

    0 when derained = clean; 1 half-way between clean and rain; grows to 1e7 x L1 as the derained
    image stays the rainy one. The clean and the rainy side get no gradient. A batch wants some rain:
    where rain = clean the ratio is about 1, whatever was done. On images rather than features this
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
    return sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True))


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
