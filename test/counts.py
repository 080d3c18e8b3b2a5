"""Counts of a network: parameters, multiply-accumulates, weights without a gradient."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def gmac(module: nn.Module, height: int = 512, width: int = 512) -> float:
    """10^9 multiply-accumulates for one image; the module is moved to ``meta``."""
    image = torch.empty(1, 3, height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.to("meta")(image)
    return counter.get_total_flops() / 2e9


def without_gradient(module: nn.Module, but_attention: bool = False) -> list[str]:
    """Names of the weights that no gradient got to.

    ``but_attention``: in a tiny channel attention every ReLU may happen to be off, so that a gradient of
    zeros will do there.
    """
    return [
        name for name, parameter in module.named_parameters() if not _reached(name, parameter, but_attention)
    ]


def _reached(name: str, parameter: nn.Parameter, but_attention: bool) -> bool:
    if parameter.grad is None:
        return False
    excused = but_attention and ("squeeze" in name or "excite" in name)
    return excused or bool(parameter.grad.abs().sum() > 0)
