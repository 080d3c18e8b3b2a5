"""The networks of a model folder as compiled graphs: derainer, parser and gauge on another runtime.

OpenVINO and TensorRT compile a graph for one size of images, at configure for the sizes that are announced
(:meth:`GraphNetwork.prepare`). At another size OpenVINO compiles when the first such frame comes, which
takes tenths of a second; TensorRT would take minutes, and ONNX Runtime's CUDA runs the frame instead.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ros2_derain import networks
from ros2_derain.networks import Derainer, Parse, Restoration, SceneParser, onnx_export
from ros2_derain.networks.rain_gauge import gauge_input
from ros2_derain.networks.scene_parser import enlarged_size
from ros2_derain.networks.weather_gauge import Water, water_input

from .backends import Cache, Graph, GraphError, compile_graph

MAX_SIZES = 6
"""Sizes of images for which compiled graphs are kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where and how graphs run.

    Attributes:
        runtime, device, precision, cache: as of :func:`ros2_derain.engine.backends.compile_graph`.
        threads: number of cores.
        streams: number of frames that are computed at the same time, each on its share of the cores.
        batch: largest number of images in a call.
    """

    runtime: str
    device: torch.device
    precision: str
    cache: Cache | None
    threads: int
    streams: int = 1
    batch: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights in the ONNX file; OpenVINO converts float32 to its own."""
        return torch.float32 if self.runtime == "openvino" else getattr(torch, self.precision)


class GraphNetwork:
    """A network of a model folder, run by another runtime.

    Args:
        part: ``derainer``, ``parser`` or ``gauge``.
        network: in float32 on the CPU.
        identity: what makes the network what it is (hash of the weights, options); for the cache.
        target: where and how its graphs run.

    Attributes:
        internal: names of inputs and outputs, as of :func:`ros2_derain.engine.backends.compile_graph`.
    """

    internal: tuple[str, ...] = ()

    def __init__(self, part: str, network: nn.Module, identity: dict[str, Any], target: Target) -> None:
        self.part, self.network, self.target = part, network, target
        self.names = onnx_export.graph_names(part, network)
        self._identity = identity
        self._shapeless = copy.deepcopy(network).to("meta")
        self._graphs: dict[tuple[str, tuple[int, ...]], Graph] = {}
        self._is_prepared = False
        self._lock = threading.Lock()

    def retarget(self, **changed: Any) -> None:
        """Change some of the target; nothing is compiled for it yet."""
        with self._lock:
            self.target = replace(self.target, **changed)
            self._graphs.clear()

    def prepare(self, height: int, width: int) -> None:
        """Compile all graphs for this size.

        Raises:
            GraphError: one does not compile.
        """
        image = torch.empty(1, 3, height, width, device="meta")
        for name in self.names:
            seen = _INPUTS[name](image) if name in _INPUTS else image
            example = onnx_export.example(self._shapeless, name, *seen.shape[-2:])
            shapes = {key: tuple(tensor.shape) for key, tensor in example.items()}
            key = name, self._size(shapes)
            with self._lock:
                if key not in self._graphs:
                    self._keep(key, self._compiled(name, shapes, self.target))
        self._is_prepared = True

    def call(self, name: str, **tensors: Tensor | None) -> dict[str, Tensor]:
        """The outputs of a graph, by name; inputs that are None are left out.

        Raises:
            GraphError: it does not compile or fails.
        """
        given = {key: tensor for key, tensor in tensors.items() if tensor is not None}
        shapes = {key: tuple(tensor.shape) for key, tensor in given.items()}
        key = name, self._size(shapes)
        graph = self._graphs.get(key)
        if graph is None:
            with self._lock:
                graph = self._graphs.get(key) or self._unprepared(key, shapes)
        return graph(given)

    def _size(self, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        """What of the first input's shape, an image's, a graph is compiled for; () where it takes any."""
        if self.target.runtime == "onnxruntime":
            return ()
        batch, _, height, width = next(iter(shapes.values()))
        return (height, width) if self.target.runtime == "tensorrt" else (height, width, batch)

    def _unprepared(self, key: tuple[str, tuple[int, ...]], shapes: dict[str, tuple[int, ...]]) -> Graph:
        """A graph for frames of a size that was not announced."""
        started, target = time.perf_counter(), self.target
        if target.runtime == "tensorrt":
            target = replace(target, runtime="onnxruntime")
        graph = self._keep(key, self._compiled(key[0], shapes, replace(target, cache=None)))
        if self._is_prepared:
            _log.warning(
                "%s compiled for %dx%d on the first frame of this size (%.1f s): warm up at it instead",
                self.part,
                key[1][1] if key[1] else 0,
                key[1][0] if key[1] else 0,
                time.perf_counter() - started,
            )
        return graph

    def _keep(self, key: tuple[str, tuple[int, ...]], graph: Graph) -> Graph:
        same = [other for other in self._graphs if other[0] == key[0]]
        if len(same) >= MAX_SIZES:
            del self._graphs[same[0]]
        self._graphs[key] = graph
        return graph

    def _compiled(self, name: str, shapes: dict[str, tuple[int, ...]], target: Target) -> Graph:
        if name == "gauge":  # in less than float32, rates would be rounded differently on each runtime
            target = replace(target, precision="float32")
        return compile_graph(
            self._file(name, target.dtype),
            target.runtime,
            target.device,
            target.precision,
            target.cache,
            shapes=None if target.runtime == "onnxruntime" else shapes,
            threads=target.threads,
            streams=target.streams,
            batch=target.batch,
            internal=self.internal,
        )

    def _file(self, name: str, dtype: torch.dtype) -> bytes:
        """The graph as ONNX file."""

        def made() -> bytes:
            try:
                return onnx_export.export(self.network, name, dtype=dtype)
            except onnx_export.ExportError as error:
                raise GraphError(f"{self.part}: {error}") from error

        if self.target.cache is None:
            return made()
        identity = {**self._identity, "graph": name, "dtype": str(dtype), "opset": onnx_export.OPSET}
        origin = {"torch": torch.__version__, "networks": _networks_digest()}
        return self.target.cache.made(f"{self.part} {name}", identity, origin, made)


class GraphGauge(GraphNetwork):
    """A gauge: see :class:`ros2_derain.networks.RainGauge`."""

    @property
    def sees_water(self) -> bool:
        """Whether there is :meth:`water`."""
        return "water" in self.names

    def __call__(self, image: Tensor) -> Tensor:
        """N rain rates in mm/h of N x 3 x H x W images in 0..1."""
        return self.call("gauge", image=image)["rate"]

    def water(self, image: Tensor, recent: Tensor) -> Water:
        """What hides the scene in N x 3 x H x W images in 0..1; ``recent``: mean of those before."""
        return Water(**self.call("water", image=image, recent=recent))


class GraphParser(GraphNetwork):
    """A parser: see :class:`ros2_derain.networks.SceneParser`."""

    network: SceneParser

    @property
    def enlarged_below(self) -> int:
        """Longer side in pixels below which images are parsed enlarged."""
        return self.network.enlarged_below

    def prepare(self, height: int, width: int) -> None:
        """As :meth:`GraphNetwork.prepare`, for the size at which these images are parsed."""
        super().prepare(*enlarged_size(height, width, self.enlarged_below))

    def __call__(self, image: Tensor) -> Parse:
        """Labels and boxes of N x 3 x H x W images in 0..1."""
        return onnx_export.parse_of(self.call("parse", image=image))


class GraphDerainer(GraphNetwork):
    """A derainer: see :class:`ros2_derain.networks.Derainer`."""

    network: Derainer
    internal = ("state", onnx_export.NEXT_STATE, "features", "last_features")

    @property
    def takes_prior(self) -> bool:
        """Whether ``refine`` uses a prior."""
        return self.network.takes_prior

    def coarse(self, rain: Tensor, state: Tensor | None = None) -> Restoration:
        """First estimate of the clean image."""
        return _restoration(self.call("coarse", rain=rain, state=self._state(rain, state)))

    def once(self, rain: Tensor, state: Tensor | None = None, prior: Tensor | None = None) -> Restoration:
        """``coarse`` and ``refine`` in one graph."""
        prior = self._prior(rain, prior)
        if prior is None:
            return self.coarse(rain, state)
        return _restoration(self.call("once", rain=rain, prior=prior, state=self._state(rain, state)))

    def refine(self, rain: Tensor, restoration: Restoration, prior: Tensor | None = None) -> Restoration:
        """A better estimate, given the class probabilities of each pixel."""
        prior = self._prior(rain, prior)
        return restoration if prior is None else self._further("refine", rain, restoration, prior)

    def again(self, rain: Tensor, restoration: Restoration) -> Restoration:
        """What a further iteration starts from."""
        return self._further("again", rain, restoration) if "again" in self.names else restoration

    def _further(
        self, name: str, rain: Tensor, restoration: Restoration, prior: Tensor | None = None
    ) -> Restoration:
        found = self.call(
            name,
            rain=rain,
            prior=prior,
            last_image=restoration.image,
            presence=restoration.presence,
            last_features=restoration.features,
        )
        return restoration._replace(**found)

    def _state(self, rain: Tensor, state: Tensor | None) -> Tensor | None:
        return self.network.initial_state(rain) if state is None else state

    def _prior(self, rain: Tensor, prior: Tensor | None) -> Tensor | None:
        if not self.takes_prior:
            return None
        return self.network.initial_prior(rain) if prior is None else prior


_INPUTS = {"gauge": gauge_input, "water": water_input}
"""What makes a graph's image of the frame's, where it is another one."""

KINDS = {"derainer": GraphDerainer, "parser": GraphParser, "gauge": GraphGauge}
"""By part of a model."""


def _restoration(found: dict[str, Tensor]) -> Restoration:
    return Restoration(
        found["image"],
        found["error"],
        found["presence"],
        found["presence"],
        found.get("features"),
        found.get(onnx_export.NEXT_STATE),
    )


@cache
def _networks_digest() -> str:
    """Hash of the source of the networks: another one may make other graphs of the same weights."""
    digest = hashlib.sha256()
    for path in sorted(Path(networks.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
