"""ONNX files made elsewhere: read without trust, as one self-contained file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ros2_derain.models import ModelError

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2**31 - 1
"""Of a file; the format has no more without further files."""

RUNTIME_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of operators that runtimes bring along."""


@dataclass(frozen=True)
class Port:
    """An input or output as the file states it.

    Attributes:
        name: of the tensor.
        shape: None for a side that the file leaves open; the whole is () where it states none.
        dtype: such as ``float32``.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sides = ("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.dtype} {'x'.join(sides)}"


@dataclass(frozen=True)
class OnnxFile:
    """What a file holds.

    Attributes:
        data: the file, with all weights inside.
        inputs, outputs: of the graph.
        opset: version of ONNX's operators.
        producer: what wrote it; may be empty.
        metadata: free entries, such as Ultralytics' ``names``.
    """

    data: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int
    producer: str
    metadata: dict[str, str]

    def names(self) -> tuple[str, ...]:
        """Classes that the metadata state: Ultralytics' ``names``, or ``classes`` of this package."""
        for key in ("names", "classes"):
            try:
                found = ast.literal_eval(self.metadata.get(key, ""))
            except (ValueError, SyntaxError):
                continue
            if isinstance(found, dict):
                found = [found[index] for index in sorted(found)]
            if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found):
                return tuple(found)
        return ()


def read(path: Path) -> OnnxFile:
    """Read and check a file.

    Raises:
        ModelError: it is missing, no ONNX, too large, has weights in files outside its folder, or operators
            that are not ONNX's; or the package ``onnx`` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModelError("ONNX files need the package onnx: pip install 'ros2_derain[onnx]'") from error
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ModelError(f"{path} is empty or larger than 2 GB: an ONNX file is neither")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's errors depend on its implementation
        raise ModelError(f"{path} is no ONNX file: export the network as ONNX first") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{path} is no ONNX file, or one without a network: export it again")
    _check_operators(path, model)
    if _embed_weights(path, model):
        data = _serialised(path, model)
    return OnnxFile(
        data,
        tuple(_ports(model.graph.input, {tensor.name for tensor in model.graph.initializer})),
        tuple(_ports(model.graph.output, set())),
        next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), 0),
        f"{model.producer_name} {model.producer_version}".strip(),
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _check_operators(path: Path, model: onnx.ModelProto) -> None:
    from onnx import defs

    own = {(function.domain, function.name) for function in model.functions}
    known = defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version > known:
            raise ModelError(
                f"{path} needs opset {opset.version}, and onnx here knows {known}: export it with "
                f"opset {known} or an older one, or update onnx"
            )
    for node in _nodes(model):
        if (node.domain, node.op_type) in own:
            continue
        if node.domain not in RUNTIME_DOMAINS:
            raise ModelError(
                f"{path} uses operator {node.op_type} of domain {node.domain}: libraries of custom operators "
                "are never loaded; export the network without it"
            )
        if node.domain in ("", "ai.onnx") and not defs.has(node.op_type):
            raise ModelError(
                f"{path} uses operator {node.op_type}, which is none of ONNX's: export the network without it"
            )


def _embed_weights(path: Path, model: onnx.ModelProto) -> bool:
    """Read weights that are in files beside this one into the model; whether there are any."""
    from onnx import external_data_helper as external

    folder = path.parent.resolve()
    found = False
    for tensor in _tensors(model):
        if not external.uses_external_data(tensor):
            continue
        found = True
        place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        parts = PurePosixPath(place.replace("\\", "/"))
        outside = parts.is_absolute() or ".." in parts.parts or not place
        if outside or not (folder / place).resolve().is_relative_to(folder):
            raise ModelError(f"{path} has weights at {place!r}, outside its own folder: they are not read")
        try:
            external.load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # of the package, the file system or a wrong length
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"weights {folder / place} of {path} cannot be read: {reason}") from error
        tensor.data_location = tensor.DEFAULT
        del tensor.external_data[:]
    return found


def _serialised(path: Path, model: onnx.ModelProto) -> bytes:
    try:
        return model.SerializeToString()
    except Exception as error:  # protobuf's errors depend on its implementation
        raise ModelError(
            f"{path} and its weights are larger than 2 GB: that does not fit one file"
        ) from error


def _graphs(model: onnx.ModelProto) -> Iterator[Any]:
    """The graph, the functions, and the graphs inside of them (of If, Loop, Scan)."""
    waiting: list[Any] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [inner for inner in (attribute.g, *attribute.graphs) if inner.node]


def _nodes(model: onnx.ModelProto) -> Iterator[Any]:
    return (node for graph in _graphs(model) for node in graph.node)


def _tensors(model: onnx.ModelProto) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)


def _ports(values: Any, weights: set[str]) -> Iterator[Port]:
    import onnx

    for value in values:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        sides = tuple(
            side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None
            for side in kind.shape.dim
        )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else "?"
        yield Port(value.name, sides, dtype)
