"""What derain_node and segmentation_node share besides :mod:`.managed_node`: a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import torch
from std_msgs.msg import Header

from ros2_derain import models
from ros2_derain.engine import EngineError, LoadedModel, ModelIdentity, Scene, SharedModel
from ros2_derain.nodes import outputs, parameters
from ros2_derain.nodes.managed_node import ManagedNode
from ros2_derain.nodes.outputs import Context, Output
from ros2_derain.nodes.parameters import M, ParameterError
from ros2_derain.nodes.worker import THROTTLE_S


class ModelNode(ManagedNode[M]):
    """A managed node with a model, which is loaded while the node is configured.

    Args:
        name: the node's name.
        kind: the dataclass of its parameters.
        models: the model, perhaps shared with other nodes.
        options: further arguments of the base class.

    Raises:
        EngineError: parameters that contradict each other.
    """

    def __init__(self, name: str, kind: type[M], models: SharedModel, **options: Any) -> None:
        self._models = models
        super().__init__(name, kind, **options)
        self.throttle_s = THROTTLE_S / models.cameras
        self.settings = parameters.engine_settings(self.parameters)
        self._trusted_model = self.parameters.model
        self._identity: ModelIdentity | None = None

    @abstractmethod
    def use(self, model: LoadedModel) -> None:
        """Take the loaded model, and warm it up. Raises EngineError or RuntimeError where that fails."""

    @property
    def identity(self) -> ModelIdentity:
        """Of the loaded model; only while configured."""
        if self._identity is None:
            raise EngineError(f"{self.get_name()} has no model: configure it first")
        return self._identity

    def load(self) -> str:
        try:
            with ThreadPoolExecutor(1) as aside:  # OpenMP keeps a team for every thread that computes
                identity = aside.submit(self._load).result()
        except EngineError:
            raise
        except RuntimeError as error:
            raise EngineError(f"model {self.settings.model} fails at its warm-up: {error}") from error
        self._identity = identity
        return (
            f"model {identity.name} ({identity.sha256[:12]}) on {identity.device}, "
            f"{identity.precision}, by {identity.runtime}, {len(identity.class_names)} classes"
        )

    def _load(self) -> ModelIdentity:
        model = self._models.acquire(self._full_name, self.settings)
        self.use(model)
        return model.identity

    def unload(self) -> None:
        self._identity = None
        self._models.release(self._full_name)

    def frame_context(self) -> AbstractContextManager:
        return self._models.frame()

    def accept(self, parameters_: M) -> None:
        model = parameters_.model
        if model != self._trusted_model and models.is_path(model):
            raise ParameterError(f"model {model!r}: a path is accepted at start-up only; name a model")
        self.settings = parameters.engine_settings(parameters_)

    def publish_scene(self, chosen: Iterable[Output], scene: Scene, context: Context) -> None:
        """Publish a frame on some of :attr:`outputs`; without a subscriber no message is made."""
        for output in chosen:
            if self.has_subscriber(output):
                message = output.make(scene, context)
                if message is not None:
                    self.publish(output, message)

    def publish_on_start(self) -> None:
        """Publish what is about the model, not about a frame."""
        context = self.message_context(Header(stamp=self.get_clock().now().to_msg()))
        for output in self.outputs:
            if isinstance(output, outputs.StartOutput):
                self.publish(output, output.make(context))

    def message_context(self, header: Header, **more: Any) -> Context:
        """What messages are made of besides the scene; parameters that the node lacks keep defaults."""
        known = {
            name: getattr(self.parameters, name)
            for name in ("jpeg_quality", "overlay_opacity", "confidence_threshold")
            if hasattr(self.parameters, name)
        }
        return Context(
            header,
            self.identity,
            label_info_topic=self.resolve_topic_name(outputs.LABEL_INFO.name),
            **known,
            **more,
        )

    def facts(self) -> dict[str, str]:
        identity = self.identity
        facts = {
            "model": identity.name,
            "model_sha256": identity.sha256,
            "device": identity.device,
            "precision": identity.precision,
            "runtime": identity.runtime,
        }
        if identity.device.startswith("cuda"):
            facts["gpu_memory_mb"] = f"{torch.cuda.memory_allocated(identity.device) / 2**20:.0f}"
        return facts
