"""UBCN: deraining and segmentation in a closed loop, each made better by the other.

"Close the Loop: A Unified Bottom-Up and Top-Down Paradigm for Joint Image Deraining and Semantic
Segmentation" (AAAI 2022). With the rainy image R and C^_0 = R, iteration t = 1..3 is

    C~ = R + ILD(R, C^_{t-1})                 image-level deraining, bottom-up
    S  = softmax(G_de(C~))                    segmentation
    F  = F_d(C~, R)                           shared features
    C^ = C~ + sum_c F_c(S_c F)                SAM, semantic attention, top-down (Eq. 5)

In training a second segmentation network of its own weights, G_ce, sees the clean image, and a
discriminator compares the two encoders' features (Eq. 2): feature-level deraining, FLD.

In the engine's closed loop T is the number of iterations, and the model's parser is G_de. With the
previous frame's prior (one iteration) S is that of the frame before; without any, C^ = C~.

The paper leaves open, and this chooses: ILD is a 3x3 convolution of R and C^_{t-1} to 64 channels,
22 residual blocks, a 3x3 convolution to the residual; F_d the same with two blocks; F_c is
3x3 to 16 channels, ReLU, 3x3 to RGB, for all classes one grouped convolution and one plain one,
which sums them up; C~ is added to Eq. 5's sum; S are probabilities, so that the
restoration teaches G_de; iterations share all weights. ``light`` does the image part at half
resolution with 32 channels and 8 blocks. The authors have published no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbones import backbone_of
from .derainer import Derainer, Restoration, restoration_of
from .layers import (
    ResidualBlock,
    as_input,
    conv3x3,
    crop_logits,
    one_of,
    pad_to_multiple,
    published,
    resized,
    small_conv3x3,
)
from .scene_parser import LOGIT_STRIDE, Parse


@dataclass(frozen=True)
class Variant:
    """A size of UBCN, and the switches of its Table 3.

    Attributes:
        channels: inside ILD and SAM.
        blocks: residual blocks of ILD.
        scale: side of the squares of pixels that ILD and SAM work on (1: every pixel).
        branch: channels of each class's path through SAM.
        sam: without it C^ = C~.
        ild: without it C~ = R: segmentation and SAM see the rain, once.
    """

    channels: int = 64
    blocks: int = 22
    scale: int = 1
    branch: int = 16
    sam: bool = True
    ild: bool = True


VARIANTS = {
    "pspnet50": Variant(),
    "hrnet18": Variant(),
    "light": Variant(channels=32, blocks=8, scale=2, branch=8),
}
"""The paper's two, which differ in the segmentation network alone, and one for real time. Each is named after
the row of :data:`SEGMENTERS` that belongs to it."""


class Iteration(NamedTuple):
    """One turn of the loop: C~, C^ (N x 3 x H x W, not clamped) and the segmentation of C~."""

    coarse: Tensor
    refined: Tensor
    segmentation: Parse


class ImageResidual(nn.Module):
    """Two images in; 3x3 convolution, ReLU, residual blocks; features out.

    Shape: two times N x 3 x H x W, H and W multiples of ``scale``, -> N x C x H/scale x W/scale.
    """

    def __init__(self, channels: int, blocks: int, scale: int):
        super().__init__()
        self.scale = scale
        self.stem = conv3x3(6 * scale**2, channels)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x = functional.pixel_unshuffle(torch.cat((first, second), 1), self.scale)
        return self.blocks(functional.relu(self.stem(as_input(x, self.stem))))


class ImageLevelDerain(nn.Module):
    """ILD: the coarse residual. Shapes as :class:`ImageResidual`, -> N x 3 x H x W."""

    def __init__(self, channels: int, blocks: int, scale: int):
        super().__init__()
        self.look = ImageResidual(channels, blocks, scale)
        self.tail = small_conv3x3(channels, 3 * scale**2)

    def forward(self, rain: Tensor, previous: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.tail(self.look(rain, previous)), self.look.scale)


class SemanticAttention(nn.Module):
    """SAM: one path per class over the features where that class is seen, summed up (Eq. 5).

    Shapes: ``coarse``, ``rain`` N x 3 x H x W, H and W multiples of ``scale``; ``probabilities``
    N x K x any size, 0..1 -> residual N x 3 x H x W.
    """

    def __init__(self, classes: int, channels: int, branch: int, scale: int):
        super().__init__()
        self.look = ImageResidual(channels, 2, scale)
        self.paths = nn.Conv2d(classes * channels, classes * branch, 3, padding=1, groups=classes)
        self.tail = small_conv3x3(classes * branch, 3 * scale**2)

    def forward(self, coarse: Tensor, rain: Tensor, probabilities: Tensor) -> Tensor:
        shared = self.look(coarse, rain)
        attention = resized(as_input(probabilities, self.paths), shared)
        attended = torch.cat([shared * one for one in attention.split(1, 1)], 1)
        return functional.pixel_shuffle(self.tail(functional.relu(self.paths(attended))), self.look.scale)


class UbcnDerainer(Derainer):
    """ILD and SAM: all of UBCN that makes images. Contract and shapes as :class:`Derainer`.

    Args:
        classes: K, of the segmentation it is guided by.
        variant: row of :data:`VARIANTS`.
        changes: fields of :class:`Variant` to change.

    Raises:
        ValueError: an unknown variant or option.
    """

    def __init__(self, classes: int = 11, variant: str = "pspnet50", **changes: object):
        super().__init__()
        chosen = published(VARIANTS, variant, changes)
        self.classes, self.scale = classes, chosen.scale
        sizes = chosen.channels, chosen.blocks, chosen.scale
        self.derain = ImageLevelDerain(*sizes) if chosen.ild else None
        self.attend = (
            SemanticAttention(classes, chosen.channels, chosen.branch, chosen.scale) if chosen.sam else None
        )

    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """C~ of the first iteration; no state is carried from frame to frame."""
        return restoration_of(rain, self.bottom_up(rain, rain))

    def again(self, rain: Tensor, restoration: Restoration) -> Restoration:
        """C~ of a further iteration, from C^ of the one before."""
        return restoration_of(rain, self.bottom_up(rain, restoration.image))

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """C^ from C~ and what each pixel is."""
        if prior is None:
            return restoration
        return restoration_of(rain, self.top_down(rain, restoration.image, prior))

    def bottom_up(self, rain: Tensor, previous: Tensor) -> Tensor:
        """C~ from R and C^ of the iteration before, N x 3 x H x W each; R itself without ILD."""
        if self.derain is None:
            return rain
        return self._added(rain, self.derain, rain, previous)

    def top_down(self, rain: Tensor, coarse: Tensor, probabilities: Tensor) -> Tensor:
        """C^ from R, C~ and the class probabilities S, N x K x any size; C~ itself without SAM."""
        if self.attend is None:
            return coarse
        return self._added(coarse, self.attend, coarse, rain, probabilities)

    def _added(self, base: Tensor, module: nn.Module, first: Tensor, second: Tensor, *more: Tensor) -> Tensor:
        """``base`` + the module's residual for the two images, padded inside."""
        height, width = base.shape[-2:]
        padded = (pad_to_multiple(image, self.scale) for image in (first, second))
        return base + module(*padded, *more)[..., :height, :width]


class PyramidPooling(nn.Module):
    """PSPNet's decoder: means over 1, 4, 9 and 36 regions join the encoder's last map.

    As every decoder it gives logits at its stride, and the features that it was given.

    The means' 1x1 convolutions have a bias instead of a normalisation, which one image's single
    mean would not allow in training. No dropout.

    Args:
        channels: of the encoder's maps; the last one is used. Its sides are multiples of 6.
        classes: K.
        hidden: channels before the classifier.
    """

    def __init__(self, channels: tuple[int, ...], classes: int, hidden: int):
        super().__init__()
        last = channels[-1]
        self.features = last
        self.means = nn.ModuleDict({str(side): nn.Conv2d(last, last // 4, 1) for side in (1, 2, 3, 6)})
        self.classify = _classifier(2 * last, hidden, classes, size=3)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x = maps[-1]
        parts = [x]
        for side, reduce in self.means.items():
            parts.append(resized(functional.relu(reduce(_means(x, int(side)))), x))
        return self.classify(torch.cat(parts, 1)), x


def _means(x: Tensor, side: int) -> Tensor:
    """Means over side x side regions (N x C x H x W, sides multiples of ``side``)."""
    count, channels, height, width = x.shape
    regions = x.reshape(count, channels, side, height // side, side, width // side)
    return regions.mean((3, 5))


class AllScales(nn.Module):
    """HRNetV2's decoder: all maps at the finest one's size, concatenated, 1x1 twice."""

    def __init__(self, channels: tuple[int, ...], classes: int, hidden: int):
        super().__init__()
        self.features = sum(channels)
        self.classify = _classifier(self.features, hidden, classes, size=1)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x = torch.cat([maps[0], *(resized(one, maps[0]) for one in maps[1:])], 1)
        return self.classify(x), x


@dataclass(frozen=True)
class Segmenter:
    """A segmentation network: encoder, decoder, its channels, stride of the logits, multiple of the input."""

    backbone: str
    decoder: type[PyramidPooling] | type[AllScales]
    hidden: int
    stride: int
    multiple: int


SEGMENTERS = {
    "pspnet50": Segmenter("resnet50_dilated", PyramidPooling, hidden=512, stride=8, multiple=48),
    "hrnet18": Segmenter("hrnet18", AllScales, hidden=270, stride=4, multiple=32),
    "light": Segmenter("light", AllScales, hidden=64, stride=4, multiple=32),
}


class UbcnSegmenter(nn.Module):
    """G: encoder and decoder. UBCN has two, of one structure and separate weights.

    Args:
        classes: K.
        name: row of :data:`SEGMENTERS`.
        backbone: another encoder in place of the named one's (it gives maps of the same strides).

    Shapes: ``image`` N x 3 x H x W in 0..1, any H, W >= 64, -> :class:`Parse`, as the loop's parser gives
    it, but for boxes: there are none. PSPNet's logits at stride 8 are brought to stride 4. The features
    are what the encoder hands to the decoder, FLD's domain.

    Raises:
        ValueError: no segmentation network of that name.
    """

    enlarged_below = 0
    """See :class:`SceneParser`: images are parsed as they are."""

    def __init__(self, classes: int = 11, name: str = "pspnet50", backbone: str | nn.Module | None = None):
        super().__init__()
        one_of("segmenter", name, SEGMENTERS)
        self.plan = plan = SEGMENTERS[name]
        self.classes = classes
        self.encoder = backbone_of(plan.backbone if backbone is None else backbone)
        channels = cast(tuple[int, ...], self.encoder.channels)
        self.decoder = plan.decoder(channels, classes, plan.hidden)
        self.feature_channels = self.decoder.features

    def forward(self, image: Tensor) -> Parse:
        logits, features = self.decoder(self.encoder(pad_to_multiple(image, self.plan.multiple)))
        if self.plan.stride != LOGIT_STRIDE:
            logits = functional.interpolate(
                logits, scale_factor=self.plan.stride / LOGIT_STRIDE, mode="bilinear", align_corners=False
            )
        return Parse(crop_logits(logits, image, LOGIT_STRIDE), (), features)


class FeatureDiscriminator(nn.Sequential):
    """D: does an encoder's feature map come from a clean image? One logit per patch, high for clean.

    4x4 convolutions of stride 2 to 256, 128, 64 and 1 channels, leaky ReLU 0.2 between them.
    Padded by 2, so that the 8 x 8 map of a small crop is enough.

    Shape: N x C x h x w -> N x 1 x h' x w'.
    """

    def __init__(self, channels: int):
        layers, inputs = [], channels
        for outputs in (256, 128, 64, 1):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, padding=2), nn.LeakyReLU(0.2, inplace=True)]
            inputs = outputs
        super().__init__(*layers[:-1])


def close_loop(
    derainer: UbcnDerainer, segmenter: nn.Module, rain: Tensor, iterations: int
) -> tuple[Iteration, ...]:
    """T iterations over N x 3 x H x W; without ILD one, since every one would be the same.

    Args:
        segmenter: G_de, images -> :class:`Parse`.
    """
    turns: list[Iteration] = []
    for _ in range(1 if derainer.derain is None else iterations):
        coarse = derainer.bottom_up(rain, turns[-1].refined if turns else rain)
        segmentation = segmenter(coarse)
        refined = derainer.top_down(rain, coarse, segmentation.logits.softmax(1))
        turns.append(Iteration(coarse, refined, segmentation))
    return tuple(turns)


def _classifier(inputs: int, hidden: int, classes: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, classes, 1),
    )
