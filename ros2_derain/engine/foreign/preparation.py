"""Images as the inputs of networks made elsewhere, and boxes and maps back onto the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.engine.scene import EngineError
from ros2_derain.onnx_parts import ImageInput

Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""A network: its outputs by name, for its inputs by name."""

FINE_CELL = 3.0
"""Pixels of the image; maps of smaller cells are kept at stride 2, others at stride 4."""


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the input of a network. All pairs are (horizontal, vertical).

    Attributes:
        image: width and height of the image.
        size: width and height of the input.
        scaled: width and height of the image in the input.
        offset: of its top left corner.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    scaled: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the input per pixel of the image."""
        return self.scaled[0] / self.image[0], self.scaled[1] / self.image[1]


def place(width: int, height: int, spec: ImageInput) -> Placement:
    """Where an image of this size lies in the input."""
    image = width, height
    if spec.size is None:
        wide, high = (-(-side // spec.multiple) * spec.multiple for side in image)
        return Placement(image, (wide, high), image)
    if spec.fit == "stretch":
        return Placement(image, spec.size, spec.size)
    scale = min(spec.size[0] / width, spec.size[1] / height)
    scaled = max(1, round(width * scale)), max(1, round(height * scale))
    if spec.fit == "letterbox_corner":
        return Placement(image, spec.size, scaled)
    left, top = ((whole - part) // 2 for whole, part in zip(spec.size, scaled, strict=True))
    return Placement(image, spec.size, scaled, (left, top))


def prepare(image: Tensor, spec: ImageInput) -> tuple[dict[str, Tensor], Placement]:
    """The inputs of a network for an image.

    Args:
        image: N x 3 x H x W RGB in 0..1.
        spec: what the network expects.
    """
    placement = place(image.shape[-1], image.shape[-2], spec)
    x = image.float()
    if placement.scaled != placement.image:
        x = functional.interpolate(x, size=placement.scaled[::-1], mode="bilinear", align_corners=False)
    left, top = placement.offset
    right = placement.size[0] - placement.scaled[0] - left
    bottom = placement.size[1] - placement.scaled[1] - top
    if any((left, right, top, bottom)):
        if spec.size is None:
            x = functional.pad(x, (left, right, top, bottom), mode="replicate")
        else:
            x = functional.pad(x, (left, right, top, bottom), value=spec.fill / 255)
    inputs = {spec.name: encode(x, spec)}
    if spec.size_input:
        sizes = torch.tensor([placement.size], dtype=torch.int64, device=x.device)
        inputs[spec.size_input] = sizes.expand(len(image), 2).contiguous()
    return inputs, placement


def output(run: Run, inputs: Mapping[str, Tensor], name: str) -> Tensor:
    """One output of a network.

    Raises:
        RuntimeError: the network failed, or has no such output.
    """
    return outputs(run, inputs, (name,))[name]


def outputs(run: Run, inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> Mapping[str, Tensor]:
    """The outputs of a network, which must have these; raises as :func:`output`."""
    try:
        found = run(inputs)
    except EngineError as error:
        raise RuntimeError(str(error)) from error
    if missing := [name for name in names if name not in found]:
        raise RuntimeError(f"the network has no output {missing[0]}; it has {', '.join(found)}")
    return found


def encode(x: Tensor, spec: ImageInput) -> Tensor:
    """N x 3 x H x W RGB in 0..1 as the network expects it: colours, numbers and order of the axes."""
    if spec.colours == "BGR":
        x = x.flip(1)
    if spec.dtype == "uint8":
        x = x.mul(255).add(0.5).clamp(0, 255).to(torch.uint8)
    else:
        x = (x * spec.white - _channels(spec.mean, x)) / _channels(spec.std, x)
        x = x.to(torch.float16 if spec.dtype == "float16" else torch.float32)
    return (x.permute(0, 2, 3, 1) if spec.layout == "NHWC" else x).contiguous()


def decode(x: Tensor, spec: ImageInput, *, is_difference: bool = False) -> Tensor:
    """An image that a network returns, in the form of its input, as N x 3 x H x W RGB in 0..1.

    Args:
        x: with three channels in the order of ``spec.layout``.
        spec: of the input.
        is_difference: of two images: the mean is not added.
    """
    x = (x.permute(0, 3, 1, 2) if spec.layout == "NHWC" else x).float()
    white = 255.0 if spec.dtype == "uint8" else spec.white
    x = x * _channels(spec.std, x)
    if not is_difference:
        x = x + _channels(spec.mean, x)
    return (x.flip(1) if spec.colours == "BGR" else x) / white


def boxes_on_image(boxes: Tensor, placement: Placement) -> Tensor:
    """... x 4 boxes (x0, y0, x1, y1) in pixels of the input, in pixels of the image."""
    offset = boxes.new_tensor(placement.offset * 2)
    return (boxes - offset) / boxes.new_tensor(placement.scale * 2)


def map_on_image(values: Tensor, placement: Placement, mode: str = "bilinear") -> Tensor:
    """A map over the input as one over the image.

    Args:
        values: N x K x h x w, over the whole input.
        placement: of the image in the input.
        mode: ``bilinear`` or ``nearest-exact``.

    Returns:
        N x K x ceil(H/s) x ceil(W/s), with s = 2 for maps of fine cells, else 4.
    """
    spans, targets = [], []
    for axis, count in enumerate((values.shape[-1], values.shape[-2])):
        cell = placement.size[axis] / count
        first = math.floor(placement.offset[axis] / cell)
        last = math.ceil((placement.offset[axis] + placement.scaled[axis]) / cell - 1e-6)
        spans.append((first, min(last, count)))
        targets.append(cell / placement.scale[axis])
    stride = 2 if max(targets) < FINE_CELL else 4
    (left, right), (top, bottom) = spans
    values = values[..., top:bottom, left:right]
    size = tuple(-(-side // stride) for side in placement.image[::-1])
    if tuple(values.shape[-2:]) == size:
        return values
    return functional.interpolate(
        values, size=size, mode=mode, align_corners=False if mode == "bilinear" else None
    )


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values, dtype=torch.float32)[:, None, None]
