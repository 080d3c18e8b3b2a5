"""A model on its device, shared by both halves of the loop and by several cameras."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ros2_derain import models

from .device import Runtime, choose
from .scene import EngineError, fingerprint
from .settings import EngineSettings
from .sharing import CpuScheduler, GpuBatcher

Sharing = GpuBatcher | CpuScheduler
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

    def sharing(self, cameras: int) -> Sharing:
        """How several cameras best share these networks: in batches on a GPU, in parallel on a CPU."""
        return GpuBatcher(cameras) if self.runtime.device.type == "cuda" else CpuScheduler(cameras)

    def shared(self, sharing: Sharing) -> LoadedModel:
        """The same networks, for cameras that share them."""
        networks = {part: sharing.share(network) for part, network in self.networks.items()}
        return replace(self, networks=networks)


class SharedModel:
    """A model that is loaded for the first of its users and unloaded after the last one.

    Args:
        parts: which of its networks.
        cameras: number of cameras that share it.
    """

    def __init__(self, parts: tuple[str, ...] = models.PARTS, cameras: int = 1) -> None:
        self.cameras = cameras
        self._parts = parts
        self._model: LoadedModel | None = None
        self._loaded: tuple[str, str, str] | None = None
        self._users: set[str] = set()
        self._sharing: Sharing | None = None

    def acquire(self, user: str, settings: EngineSettings) -> LoadedModel:
        """The model that the settings name.

        Args:
            user: its name, for messages; to be released by.
            settings: model, device and precision.

        Raises:
            EngineError: another user has loaded another model, device or precision.
            ModelError: the model does not load.
        """
        wanted = settings.model, settings.device, settings.precision
        if self._loaded and self._users - {user} and wanted != self._loaded:
            raise EngineError(
                f"{user} needs {_brief(wanted)}, but this process has loaded {_brief(self._loaded)}: "
                "give all its nodes the same, or run them in separate processes"
            )
        if self._model is None:
            self._model, self._loaded = LoadedModel.load(settings, self._parts), wanted
            self._sharing = self._model.sharing(self.cameras) if self.cameras > 1 else None
        self._users.add(user)
        return self._model.shared(self._sharing) if self._sharing else self._model

    def release(self, user: str) -> None:
        """The user needs the model no longer."""
        self._users.discard(user)
        if not self._users:
            self._model = self._loaded = self._sharing = None

    def frame(self) -> AbstractContextManager[None]:
        """The context in which a frame is processed: several cameras wait for each other."""
        return self._sharing.frame() if self._sharing else nullcontext()


def _brief(loaded: tuple[str, str, str]) -> str:
    return "model {} on {} in {}".format(*loaded)
