"""Derainers made elsewhere, in tiles if their size is fixed; own ones with priors of other classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks import Restoration
from ros2_derain.networks.derainer import ImageRestoration, SingleImageDerainer
from ros2_derain.onnx_parts import ImageOutput, OnnxPart

from .preparation import Run, decode, encode, output


class OnnxDerainer(SingleImageDerainer):
    """A derainer without prior and memory.

    Args:
        run: the network.
        part: of the card, with ``image``.
    """

    def __init__(self, run: Run, part: OnnxPart) -> None:
        super().__init__()
        assert part.image is not None
        self._run, self._input = run, part.input
        self._output: ImageOutput = part.image

    def forward(self, rain: Tensor) -> ImageRestoration:
        """The clean image, of an N x 3 x H x W one in 0..1.

        Raises:
            RuntimeError: the network failed, or its output is not what the card says.
        """
        one = self._padded if self._input.size is None else self._tiled
        return ImageRestoration(torch.cat([one(image) for image in rain.float().split(1)]))

    def _padded(self, rain: Tensor) -> Tensor:
        height, width = rain.shape[-2:]
        multiple = self._input.multiple
        below, beside = -height % multiple, -width % multiple
        padded = functional.pad(rain, (0, beside, 0, below), mode="replicate")
        return self._restored(padded)[..., :height, :width]

    def _tiled(self, rain: Tensor) -> Tensor:
        """Weighted means of the tiles where they overlap: weights fall linearly to the inner edges."""
        assert self._input.size is not None
        height, width = rain.shape[-2:]
        wide, high = self._input.size
        padded = functional.pad(rain, (0, max(0, wide - width), 0, max(0, high - height)), mode="replicate")
        whole, weights = torch.zeros_like(padded), torch.zeros_like(padded[:, :1])
        overlap = self._output.tile_overlap
        weight = _ramp(high, overlap, rain.device)[:, None] * _ramp(wide, overlap, rain.device)
        for top in starts(padded.shape[-2], high, overlap):
            for left in starts(padded.shape[-1], wide, overlap):
                area = ..., slice(top, top + high), slice(left, left + wide)
                whole[area] += self._restored(padded[area]) * weight
                weights[area] += weight
        return (whole / weights)[..., :height, :width]

    def _restored(self, rain: Tensor) -> Tensor:
        inputs = {self._input.name: encode(rain, self._input)}
        values = output(self._run, inputs, self._output.name)
        is_difference = self._output.values != "image"
        found = decode(values, self._input, is_difference=is_difference) if values.ndim == 4 else values
        if found.shape != rain.shape:
            shape = "x".join(map(str, values.shape))
            raise RuntimeError(f"output {self._output.name} is {shape}, not an image as large as the input")
        if not is_difference:
            return found
        return rain - found if self._output.values == "rain" else rain + found


class TranslatingDerainer:
    """A model's own derainer, called with priors of other classes than it was trained with.

    Args:
        derainer: that takes priors.
        table: for each of the given classes the index of the derainer's, or None: its probability is dropped.
        classes: number of the derainer's classes.
    """

    takes_prior = True

    def __init__(self, derainer: Any, table: tuple[int | None, ...], classes: int) -> None:
        self._derainer = derainer
        self._matrix = torch.zeros(classes, len(table))
        for given, own in enumerate(table):
            if own is not None:
                self._matrix[own, given] = 1.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._derainer, name)

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """See :meth:`ros2_derain.networks.Derainer.refine`."""
        return self._derainer.refine(rain, restoration, self._translated(prior))

    def once(self, rain: Tensor, state: Tensor | None = None, prior: Tensor | None = None) -> Restoration:
        """See :meth:`ros2_derain.networks.Derainer.once`."""
        return self._derainer.once(rain, state, self._translated(prior))

    def _translated(self, prior: Tensor | None) -> Tensor | None:
        if prior is None:
            return None
        matrix = self._matrix.to(prior.device, prior.dtype)
        return torch.einsum("ok,nkhw->nohw", matrix, prior)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover a length evenly and share at least ``overlap`` pixels."""
    if length <= tile:
        return [0]
    step = max(1, tile - overlap)
    count = -(-(length - tile) // step)
    return [round(index * (length - tile) / count) for index in range(count + 1)]


def _ramp(length: int, overlap: int, device: torch.device) -> Tensor:
    """Weights along one side of a tile, in 0..1 and above 0."""
    positions = torch.arange(length, device=device, dtype=torch.float32)
    edge = torch.minimum(positions, length - 1 - positions) + 1
    return (edge / max(1, overlap)).clamp(max=1.0)
