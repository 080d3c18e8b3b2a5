"""Architectures only: torch modules, one file per network, and a registry."""

from __future__ import annotations

from torch import nn

from .gauge import RainGauge
from .loopnet import LoopNet, Restoration
from .segmentation import Parse, SceneParser, prior_from_logits

__all__ = [
    "LoopNet",
    "Parse",
    "RainGauge",
    "Restoration",
    "SceneParser",
    "create",
    "names",
    "prior_from_logits",
]

_NETWORKS = {
    "loopnet": LoopNet,
    "rain_gauge": RainGauge,
    "scene_parser": SceneParser,
}


def names() -> tuple[str, ...]:
    """Names that :func:`create` knows."""
    return tuple(sorted(_NETWORKS))


def create(name: str, **options) -> nn.Module:
    """A network by name, with its own options.

    Raises:
        KeyError: no network of that name; the message lists the known ones.
    """
    if name not in _NETWORKS:
        raise KeyError(f"no network named {name!r}; known: {', '.join(names())}")
    return _NETWORKS[name](**options)
