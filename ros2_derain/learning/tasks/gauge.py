"""The rain gauge."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from .base import Task


class GaugeTask(Task):
    """Smooth L1 in log(1 + mm/h) over single frames."""

    NETWORKS = {"gauge": "rain_gauge"}
    LOSS = {"rate": 1.0}

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        rain, rate = batch["rain"].flatten(0, 1).float() / 255, batch["rate"]
        rate = rate[:, None].expand(batch["rain"].shape[:2]).flatten()
        error = self.gauge.log_rate(rain) - torch.log1p(rate.clamp(min=0))
        losses = smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        return self.total({"rate": (losses * (rate >= 0)).mean()})
