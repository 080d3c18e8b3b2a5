"""At least float32, and equal shapes: what every comparison of tensors here begins with."""

from __future__ import annotations

import torch
from torch import Tensor

from ros2_derain.learning.errors import LearningError


def single(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def pair(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors by :func:`single`.

    Raises:
        LearningError: their shapes differ; broadcasting would compare pixels with strangers.
    """
    if estimate.shape != target.shape:
        raise LearningError(
            f"a loss compares tensors of equal shape, not {tuple(estimate.shape)} with "
            f"{tuple(target.shape)}; crop or resize the target first"
        )
    return single(estimate), single(target)
