"""A compiled ONNX graph, and how to make one with the runtime that is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ros2_derain.engine.scene import EngineError

from .cache import Cache

_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime", "tensorrt": "onnxruntime"}
"""The Python package of each runtime; TensorRT is one of ONNX Runtime's providers."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of inputs, by name."""


class GraphError(EngineError, RuntimeError):
    """A graph does not compile or does not run; the message says why and what to do.

    As every RuntimeError of a network, it costs a running engine the frame and not more.
    """


class Port(NamedTuple):
    """An input or output of a graph; an axis of the shape is None where it varies."""

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype


class Graph(Protocol):
    """A compiled graph. Several threads may call it at the same time.

    Attributes:
        inputs: in the order of the file; ``outputs`` likewise.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, of the inputs by name.

        Args:
            tensors: on the graph's device; of another number format they are converted, and inputs
                that the graph does not have are ignored. None is changed.

        Returns:
            tensors on the same device, which no later call changes.

        Raises:
            GraphError: the runtime refuses the inputs or fails; an input is missing.
        """


def compile_graph(
    source: Path | bytes,
    runtime: str,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    cache: Cache | None = None,
    *,
    shapes: Shapes | None = None,
    threads: int | None = None,
    streams: int = 1,
    batch: int = 1,
    internal: Collection[str] = (),
) -> Graph:
    """Compile an ONNX file.

    Args:
        source: the file or its content. Operators of custom libraries are not available.
        runtime: ``openvino``, ``onnxruntime`` or ``tensorrt``.
        device: where tensors are and where it runs.
        precision: of the computation: ``float32``, ``bfloat16`` or ``float16``. ONNX Runtime computes in
            the file's own.
        cache: of compiled graphs.
        shapes: of all inputs, where the file leaves axes open and only one size is needed; None: as in the
            file. OpenVINO is faster so, and TensorRT needs it.
        threads: number of cores to use; by default as many as PyTorch uses.
        streams: number of calls at the same time, each on its share of the threads.
        batch: where ``shapes`` are given, the largest number of images in a call, for TensorRT.
        internal: inputs and outputs, N x C x H x W, that nothing but graphs of the same network reads: where
            ``shapes`` are given, a runtime may hold them in the layout and number format of its computation.

    Raises:
        GraphError: the runtime is not installed, or lacks an operator, the device or the precision; the
            file cannot be read or is none.
    """
    backend = require(runtime)
    options = Options(
        runtime,
        torch.device(device),
        precision,
        cache,
        shapes,
        threads or torch.get_num_threads(),
        streams,
        batch,
        frozenset(internal),
    )
    return backend.compile_graph(source, options)


@dataclass(frozen=True)
class Options:
    """The options of :func:`compile_graph`, for the backends."""

    runtime: str
    device: torch.device
    precision: str
    cache: Cache | None
    shapes: Shapes | None
    threads: int
    streams: int
    batch: int
    internal: frozenset[str]


def installed(runtime: str) -> bool:
    """Whether the package of a runtime, or another package, is there."""
    return importlib.util.find_spec(_PACKAGES.get(runtime, runtime)) is not None


def require(runtime: str) -> ModuleType:
    """The module of :mod:`ros2_derain.engine.backends` that serves a runtime.

    Raises:
        GraphError: there is no such runtime, or its package is missing or does not load.
    """
    if runtime not in _PACKAGES:
        raise GraphError(f"runtime {runtime!r} compiles no graphs: use one of {', '.join(_PACKAGES)}")
    package = _PACKAGES[runtime]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise GraphError(
            f"runtime {runtime} is not installed (no package {error.name}): "
            f"pip install 'ros2_derain[{package}]', or choose another runtime"
        ) from error
    except ImportError as error:
        raise GraphError(f"runtime {runtime} does not load ({error}): reinstall {package}") from error
    return importlib.import_module(f"{__package__}.{package}")


def content(source: Path | bytes) -> bytes:
    """The ONNX file.

    Raises:
        GraphError: it cannot be read.
    """
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise GraphError(f"ONNX file {source} cannot be read: {error.strerror}") from error


def label(source: Path | bytes) -> str:
    """What messages call the graph."""
    return "ONNX graph" if isinstance(source, bytes) else f"ONNX graph {source}"


def ordered(ports: tuple[Port, ...], tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The tensors of the inputs, in their order and number formats.

    Raises:
        GraphError: one is missing.
    """
    missing = [port.name for port in ports if port.name not in tensors]
    if missing:
        raise GraphError(f"the graph's inputs {', '.join(missing)} are missing")
    return [tensors[port.name].to(port.dtype) for port in ports]


_NOISE = ("Exception from", "Check '", "FrontEnd API", "Model wasn't fully", "Summary:", "While validating")


def brief(error: Exception) -> str:
    """The informative line of a runtime's message, which may be pages long."""
    lines = [line.strip("- \t") for line in str(error).splitlines() if line.strip("- \t")]
    informative = [line for line in lines if not line.startswith(_NOISE)]
    return (informative or lines or ["no message"])[0][:300]
