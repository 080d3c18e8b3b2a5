"""Architectures only: torch modules, one file per network, and a registry.

Beside them what restores images without weights.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from .danet import DANet
from .derainer import Derainer, Restoration
from .loopnet import LoopNet
from .mspfn import MSPFN
from .phpnet import PhpNet, PhpSegmenter
from .rain_gauge import RainGauge
from .sapnet import SAPNet
from .scene_parser import Candidates, Parse, SceneParser, prior_from_logits
from .ubcn import UbcnDerainer, UbcnSegmenter
from .weather_gauge import Water, WeatherGauge

__all__ = [
    "Candidates",
    "Derainer",
    "LoopNet",
    "Parse",
    "RainGauge",
    "Restoration",
    "SceneParser",
    "Water",
    "WeatherGauge",
    "create",
    "derainers",
    "kind",
    "names",
    "prior_from_logits",
]

_NETWORKS = {
    "danet": DANet,
    "loopnet": LoopNet,
    "mspfn": MSPFN,
    "phpnet": PhpNet,
    "php_segmenter": PhpSegmenter,
    "rain_gauge": RainGauge,
    "sapnet": SAPNet,
    "scene_parser": SceneParser,
    "ubcn": UbcnDerainer,
    "ubcn_segmenter": UbcnSegmenter,
    "weather_gauge": WeatherGauge,
}


def names() -> tuple[str, ...]:
    """Names that :func:`create` knows."""
    return tuple(sorted(_NETWORKS))


def derainers() -> tuple[str, ...]:
    """Names of those that can be a model's derainer."""
    return tuple(name for name in names() if issubclass(_NETWORKS[name], Derainer))


def kind(name: str) -> type[nn.Module]:
    """The class of a network.

    Raises:
        KeyError: no network of that name; the message lists the known ones.
    """
    if name not in _NETWORKS:
        raise KeyError(f"no network named {name!r}; known: {', '.join(names())}")
    return _NETWORKS[name]


def create(name: str, /, **options: Any) -> nn.Module:
    """A network by name, with its own options; raises as :func:`kind`."""
    return kind(name)(**options)
