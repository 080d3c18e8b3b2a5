"""A model on its device: what the two halves of the loop, and several cameras, may share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ros2_derain import models

from .cpu_scheduler import Seats
from .device import Runtime, choose
from .gpu_batcher import Rounds
from .scene import fingerprint
from .settings import EngineSettings

Turns = Rounds | Seats
"""How several cameras share networks."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which model runs, where and how; what diagnostics and ``vision_info`` publish."""

    name: str
    sha256: str
    device: str
    precision: str
    class_names: tuple[str, ...]
    object_names: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Of the semantic classes: two halves of a loop must agree on it."""
        return fingerprint(self.class_names)


@dataclass(frozen=True)
class LoadedModel:
    """Networks that are ready to run. They keep nothing of any camera.

    Attributes:
        identity: which model it is.
        runtime: where it runs.
        networks: by part: ``derainer``, ``parser``, ``gauge``.
    """

    identity: ModelIdentity
    runtime: Runtime
    networks: dict[str, Any]

    @classmethod
    def load(cls, settings: EngineSettings, parts: tuple[str, ...] = models.PARTS) -> LoadedModel:
        """Load ``settings.model``.

        Args:
            settings: which model, on which device, in which precision.
            parts: which of its networks.

        Raises:
            EngineError: the device is not there.
            ModelError: the model does not load; the message says why.
        """
        runtime = choose(settings.device, settings.precision)
        card, networks = models.load(models.find(settings.model), parts)
        identity = ModelIdentity(
            card.name, card.sha256, str(runtime.device), runtime.precision, card.classes, card.objects
        )
        return cls(identity, runtime, {part: runtime.place(network) for part, network in networks.items()})

    def turns(self, cameras: int) -> Turns:
        """How several cameras best share these networks: in batches on a GPU, side by side on a CPU."""
        return Rounds(cameras) if self.runtime.device.type == "cuda" else Seats(cameras)

    def shared(self, turns: Turns) -> LoadedModel:
        """The same networks, for cameras that take ``turns``."""
        networks = {part: turns.share(network) for part, network in self.networks.items()}
        return replace(self, networks=networks)
