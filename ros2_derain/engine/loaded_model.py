"""A model on its device, in its precision, shared by both halves of the loop and by several cameras."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ros2_derain import machine, models
from ros2_derain.class_colours import Colour, palette
from ros2_derain.networks import RainGauge
from ros2_derain.networks.layers import fuse_normalisation
from ros2_derain.onnx_parts import OnnxPart

from . import backends
from .backends import Cache, Graph, compile_graph
from .foreign import assembled, own_parts
from .foreign.preparation import Run
from .graph_networks import KINDS, GraphNetwork, Target
from .scene import EngineError, fingerprint
from .settings import EngineSettings
from .sharing import CpuScheduler, GpuBatcher

Sharing = GpuBatcher | CpuScheduler
"""How several cameras share networks."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """Where the networks run.

    Attributes:
        device: of the tensors and the computation.
        dtype: number format of the computation.
        runtime: one of :data:`.settings.RUNTIMES` but ``auto``.
    """

    device: torch.device
    dtype: torch.dtype
    runtime: str = "torch"

    @property
    def precision(self) -> str:
        """``float32``, ``bfloat16`` or ``float16``."""
        return str(self.dtype).removeprefix("torch.")

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the device, in the precision, channels last, for inference (in place).

        What reads rain rates stays in float32: bfloat16 would round them by up to 2 %, differently for each
        number of threads, and float32 costs tenths of a millisecond.
        """
        module = fuse_normalisation(module.eval())
        exact = [
            (part, copy.deepcopy(part.state_dict()))
            for part in module.modules()
            if isinstance(part, RainGauge)
        ]
        module = module.to(self.device, self.dtype)
        for part, state in exact:
            part.float().load_state_dict(state)
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module.requires_grad_(False)

    def tensor(self, image: np.ndarray) -> Tensor:
        """H x W x 3 uint8 -> 1 x 3 x H x W float32 in 0..1 on the device; channels last for PyTorch."""
        if self.device.type == "cpu" and self.runtime != "torch":
            planes = torch.empty(3, *image.shape[:2], dtype=torch.uint8)
            cv2.split(image, list(planes.numpy()))
            return planes[None].float().mul_(1 / 255)
        if not image.flags.writeable:
            image = image.copy()
        flat = torch.from_numpy(image)
        if self.device.type == "cuda":
            flat = flat.pin_memory().to(self.device, non_blocking=True)
        return flat.permute(2, 0, 1)[None].float().mul_(1 / 255)

    def download(self, *tensors: Tensor) -> list[np.ndarray]:
        """The tensors on the host; waits for the device once, whatever their number."""
        if self.device.type == "cpu":
            return [tensor.numpy() for tensor in tensors]
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for pinned, tensor in zip(copies, tensors, strict=True):
            pinned.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return [copy.numpy() for copy in copies]

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose(device: str = "auto", precision: str = "auto", runtime: str = "auto") -> Placement:
    """Where the networks run, for settings ``device``, ``precision`` and ``runtime``.

    ``auto`` takes CUDA where there is one, else the CPU; there OpenVINO where it is installed, else PyTorch,
    and on CUDA PyTorch. The precision is the fastest that the device and the runtime are good at.

    Raises:
        EngineError: no such device, or the precision or the runtime is not for it or not installed.
    """
    chosen = _device(device)
    if runtime == "auto":
        runtime = _best_runtime(chosen, precision)
    elif runtime != "torch":
        backends.require(runtime)
    if precision == "auto":
        precision = _best_precision(chosen, runtime)
    if chosen.type == "cpu" and precision == "float16":
        raise EngineError("precision float16 is for CUDA devices; on the CPU use bfloat16 or float32")
    return Placement(chosen, _DTYPES[precision], runtime)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise EngineError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device {name!r} is not here: {torch.cuda.device_count()} CUDA devices are visible"
        )
    return chosen


def _best_runtime(device: torch.device, precision: str) -> str:
    if device.type == "cuda" or precision == "float16":
        return "torch"
    usable = backends.installed("openvino") and backends.installed("onnx")
    return "openvino" if usable else "torch"


def _best_precision(device: torch.device, runtime: str) -> str:
    if runtime == "onnxruntime" and device.type == "cpu":
        return "float32"
    if device.type == "cuda" and runtime != "torch":
        return "float16"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
    return "bfloat16" if machine.cpu_computes_bfloat16() else "float32"


def to_levels(tensor: Tensor) -> Tensor:
    """1 x 3 x H x W in 0..1 -> H x W x 3 uint8 on the same device, contiguous."""
    image = tensor[0].detach().permute(1, 2, 0)
    if image.device.type == "cuda":
        return image.mul(255).add_(0.5).to(torch.uint8).contiguous()
    if image.is_contiguous():
        return torch.from_numpy(to_bytes(image.float().numpy()))
    return torch.from_numpy(cv2.merge([to_bytes(plane) for plane in tensor[0].detach().float().numpy()]))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """float32 in 0..1 -> uint8, several times as fast as PyTorch; H x W or H x W x 3."""
    return cv2.convertScaleAbs(values, alpha=255)


def to_image(tensor: Tensor) -> np.ndarray:
    """:func:`to_levels` on the host."""
    return to_levels(tensor).cpu().numpy()


def load_graph(data: bytes, settings: EngineSettings) -> Graph:
    """The network of an ONNX file, ready to run in float32.

    Where the settings choose PyTorch, which runs no ONNX files, it is the fastest runtime that is installed.
    """
    placement = choose(settings.device, settings.precision, settings.runtime)
    runtime = placement.runtime
    if runtime == "torch":
        fitting = ("openvino", "onnxruntime") if placement.device.type == "cpu" else ("onnxruntime",)
        runtime = next((name for name in fitting if backends.installed(name)), fitting[0])
    return compile_graph(data, runtime, placement.device, cache=Cache())


@dataclass(frozen=True)
class ModelIdentity:
    """Which model runs, where and how; what diagnostics and ``vision_info`` publish.

    ``colours`` are those of the classes, by id, in everything that is drawn.
    """

    name: str
    sha256: str
    device: str
    precision: str
    runtime: str
    class_names: tuple[str, ...]
    object_names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @property
    def fingerprint(self) -> str:
        """Of the semantic classes: two halves of a loop must agree on it."""
        return fingerprint(self.class_names)


@dataclass(frozen=True)
class LoadedModel:
    """Networks that are ready to run. They keep nothing of any camera.

    Attributes:
        identity: which model it is.
        placement: where it runs.
        networks: by part: ``derainer``, ``parser``, ``gauge``.
        graphs: those of the networks, by part, that another runtime than PyTorch runs.
    """

    identity: ModelIdentity
    placement: Placement
    networks: dict[str, Any]
    graphs: dict[str, GraphNetwork] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: EngineSettings, parts: tuple[str, ...] = models.PARTS) -> LoadedModel:
        """Load ``settings.model``.

        Args:
            settings: which model, on which device, in which precision, by which runtime.
            parts: which of its networks.

        Raises:
            EngineError: the device or the runtime is not there.
            ModelError: the model does not load; the message says why.
        """
        placement = choose(settings.device, settings.precision, settings.runtime)
        folder = models.find(settings.model)
        card, modules = models.load(folder, own_parts(models.read_card(folder), parts))
        identity = ModelIdentity(
            card.name,
            card.digest,
            str(placement.device),
            placement.precision,
            placement.runtime,
            card.classes,
            card.objects,
            palette(card.classes, card.colours),
        )
        own: dict[str, Any] = {}
        graphs: dict[str, GraphNetwork] = {}
        if placement.runtime == "torch":
            own = {part: placement.place(module) for part, module in modules.items()}
        else:
            cache, threads = Cache(), torch.get_num_threads()
            for part, module in modules.items():
                described = {"sha256": card.sha256, "part": card.networks[part]}
                target = Target(placement.runtime, placement.device, placement.precision, cache, threads)
                own[part] = graphs[part] = KINDS[part](part, module, described, target)

        def load_part(part: OnnxPart) -> Run:
            return load_graph(models.onnx_data(folder, part), settings)

        return cls(identity, placement, assembled(card, parts, own, load_part), graphs)

    def prepare(self, height: int, width: int) -> None:
        """Compile what is compiled for images of this size.

        Raises:
            EngineError: it does not compile; the message says why.
        """
        for graph in self.graphs.values():
            graph.prepare(height, width)

    def sharing(self, cameras: int) -> Sharing:
        """How several cameras best share these networks: in batches on a GPU, in parallel on a CPU."""
        return GpuBatcher(cameras) if self.placement.device.type == "cuda" else CpuScheduler(cameras)

    def shared(self, sharing: Sharing) -> LoadedModel:
        """The same networks, for cameras that share them; graphs are compiled anew for that."""
        for graph in self.graphs.values():
            graph.retarget(**sharing.of_graphs)
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
        self._loaded: tuple[str, ...] | None = None
        self._users: set[str] = set()
        self._sharing: Sharing | None = None

    def acquire(self, user: str, settings: EngineSettings) -> LoadedModel:
        """The model that the settings name.

        Args:
            user: its name, for messages; to be released by.
            settings: model, device, precision and runtime.

        Raises:
            EngineError: another user has loaded another model, device, precision or runtime.
            ModelError: the model does not load.
        """
        requested = settings.model, settings.device, settings.precision, settings.runtime
        if self._loaded and self._users - {user} and requested != self._loaded:
            raise EngineError(
                f"{user} needs {_brief(requested)}, but this process has loaded {_brief(self._loaded)}: "
                "give all its nodes the same, or run them in separate processes"
            )
        if self._model is None:
            model = LoadedModel.load(settings, self._parts)
            self._sharing = model.sharing(self.cameras) if self.cameras > 1 else None
            self._model = model.shared(self._sharing) if self._sharing else model
            self._loaded = requested
        self._users.add(user)
        return self._model

    def release(self, user: str) -> None:
        """The user needs the model no longer."""
        self._users.discard(user)
        if not self._users:
            self._model = self._loaded = self._sharing = None

    def frame(self) -> AbstractContextManager[None]:
        """The context in which a frame is processed: several cameras wait for each other."""
        return self._sharing.frame() if self._sharing else nullcontext()


def _brief(loaded: tuple[str, ...]) -> str:
    return "model {} on {} in {} by {}".format(*loaded)
