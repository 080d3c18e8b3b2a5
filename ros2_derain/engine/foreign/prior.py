"""Priors of one list of classes for a derainer that was trained with another one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ros2_derain.networks import Restoration


class TranslatingDerainer:
    """A derainer, called with priors of other classes than its own.

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
