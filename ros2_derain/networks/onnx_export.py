"""The networks as ONNX graphs, for other runtimes.

A parser is one graph, a gauge and a derainer are one for each way in which the loop calls them:

    gauge    image                                        -> rate
    water    image, recent                                -> coverage, contrast_loss, obstruction
    parse    image                                        -> logits, scores_S and edges_S of each stride S
    coarse   rain, state                                  -> restoration
    once     rain, prior, state                           -> restoration: coarse and refine in one
    refine   rain, prior, last_image, presence, last_features     -> restoration
    again    rain, last_image, presence                   -> restoration, before a further iteration

A restoration is image, error, presence, features and next_state, as in :class:`Restoration`; ``refine`` and
``again`` keep presence and state. What a network lacks (state, prior, features), its graphs lack too; a
derainer that takes no prior is ``coarse`` alone. Images are N x 3 x H x W float32 in 0..1.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .derainer import Derainer, Restoration
from .layers import cells, fuse_normalisation
from .scene_parser import LevelOutput, Parse

OPSET = 17
"""Version of ONNX's operators: the oldest that has all of the networks'."""

TRACED_SIZE = 101, 151
"""Height and width at which graphs of any size are traced: every network has to pad them."""

NEXT_STATE = "next_state"
"""Output that is the input ``state`` of the next frame."""

_VECTORS = ("rate", "coverage", "contrast_loss", "presence")
"""Tensors without height and width."""


class ExportError(Exception):
    """A network cannot be exported; the message says why."""


def graph_names(part: str, network: nn.Module) -> tuple[str, ...]:
    """The graphs of a network.

    Args:
        part: ``derainer``, ``parser`` or ``gauge``.
        network: that part of a model.
    """
    if part == "parser":
        return ("parse",)
    if part == "gauge":
        return ("gauge", "water") if network.sees_water else ("gauge",)
    assert isinstance(network, Derainer)
    if not network.takes_prior:
        return ("coarse",)
    again = ("again",) if type(network).again is not Derainer.again else ()
    return ("coarse", "once", "refine", *again)


def export(
    network: nn.Module,
    name: str,
    size: tuple[int, int] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    opset: int = OPSET,
) -> bytes:
    """A graph of a network as an ONNX file.

    Args:
        network: on any device; it stays as it is.
        name: of the graph, one of :func:`graph_names`.
        size: height and width of the images; None: any, and any number N of them.
        dtype: of the weights, of state and features, and of the computation.
        opset: version of ONNX's operators.

    Raises:
        ExportError: an operator has no counterpart in this version, or the package ``onnx`` is missing.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ExportError("networks become ONNX graphs by onnx: pip install 'ros2_derain[onnx]'")
    placed = fuse_normalisation(copy.deepcopy(network).float().eval()).cpu().to(dtype).requires_grad_(False)
    inputs = example(placed, name, *(size or TRACED_SIZE))
    graph = _Graph(placed, name, tuple(inputs))
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of tracing: sizes are those of every image, or traced as such
        names = list(outputs(placed, name, inputs))
        path = Path(folder) / "graph.onnx"
        try:
            torch.onnx.export(
                graph,
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=names,
                opset_version=opset,
                dynamic_axes=None if size else _axes([*inputs, *names]),
                dynamo=False,  # which makes the same graphs of these networks, and needs no onnxscript
            )
        except (torch.onnx.errors.OnnxExporterError, ValueError) as error:
            first = (str(error).strip().splitlines() or ["no message"])[0].split("  [Caused by")[0]
            raise ExportError(f"{name} of {type(network).__name__} has no ONNX graph: {first}") from error
        return _with_whole_cells(path.read_bytes())


def example(network: nn.Module, name: str, height: int, width: int) -> dict[str, Tensor]:
    """Noise as the inputs of a graph, by name; images and priors in 0..1.

    Args:
        network: on any device; on ``meta`` the inputs have a shape and no content.
        name: of the graph, one of :func:`graph_names`.
        height, width: of the image.
    """
    weight = next(network.parameters())
    image = torch.rand(1, 3, height, width, device=weight.device)
    if name in ("gauge", "parse"):
        return {"image": image}
    if name == "water":
        return {"image": image, "recent": torch.rand_like(image)}
    assert isinstance(network, Derainer)
    prior = None
    if network.takes_prior:
        prior = torch.rand(1, network.classes, cells(height, 8), cells(width, 8)).to(weight)
    with torch.no_grad():
        state, coarse = network.initial_state(image), network.coarse(image)
    last = {"last_image": coarse.image, "presence": coarse.presence}
    inputs: dict[str, dict[str, Tensor | None]] = {
        "coarse": {"rain": image, "state": state},
        "once": {"rain": image, "prior": prior, "state": state},
        "refine": {"rain": image, "prior": prior, **last, "last_features": coarse.features},
        "again": {"rain": image, **last},
    }
    return _present(inputs[name])


def outputs(network: nn.Module, name: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the network itself gives for the inputs of a graph, by name."""
    return _CALLS[name](network, inputs)


def parse_of(found: Mapping[str, Tensor]) -> Parse:
    """The outputs of a graph ``parse`` as those of the network; without ``features``."""
    strides = sorted(int(name.removeprefix("scores_")) for name in found if name.startswith("scores_"))
    levels = (LevelOutput(found[f"scores_{step}"], found[f"edges_{step}"], step) for step in strides)
    return Parse(found["logits"], tuple(levels))


class _Graph(nn.Module):
    """A network called in one way, from tensors to a tuple of tensors."""

    def __init__(self, network: nn.Module, name: str, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.name, self.inputs = network, name, inputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs(self.network, self.name, dict(zip(self.inputs, tensors, strict=True))).values())


def _with_whole_cells(file: bytes) -> bytes:
    """The same graph, whose pixel shuffles move all channels of a pixel at once.

    PyTorch's shuffle takes every fourth channel. Where a convolution computes these channels for it alone,
    it computes them in the other order instead: runtimes shuffle channels-last maps three times as fast.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(file)
    nodes = model.graph.node
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in nodes for output in node.output}
    read = Counter(name for node in nodes for name in node.input)
    read.update(output.name for output in model.graph.output)
    for node in nodes:
        maker = makers.get(node.input[0]) if node.op_type == "DepthToSpace" else None
        if maker is None or maker.op_type != "Conv":
            continue
        attributes = {one.name: one for one in node.attribute}
        parameters = [weights[name] for name in maker.input[1:] if name in weights]
        private = all(read[name] == 1 for name in (*maker.input[1:], *maker.output))
        if len(parameters) < len(maker.input) - 1 or not private or attributes["mode"].s != b"CRD":
            continue
        for one in parameters:
            values = numpy_helper.to_array(one)
            cells = values.reshape(-1, attributes["blocksize"].i ** 2, *values.shape[1:])
            one.CopyFrom(numpy_helper.from_array(cells.swapaxes(0, 1).reshape(values.shape), one.name))
        attributes["mode"].s = b"DCR"
    return model.SerializeToString()


def _rate(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"rate": network(given["image"])}


def _water(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = network.water(given["image"], given["recent"])._asdict()
    return found


def _parsed(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parse: Parse = network(given["image"])
    outputs = {"logits": parse.logits}
    for level in parse.levels:
        outputs |= {f"scores_{level.stride}": level.scores, f"edges_{level.stride}": level.edges}
    return outputs


def _coarse(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return _restored(network.coarse(given["rain"], given.get("state")))


def _once(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    restoration = network.once(given["rain"], given.get("state"), given["prior"])
    return _restored(restoration, ("image", "error", "presence", "state"))


def _refined(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    refined = network.refine(given["rain"], _restoration(given), given["prior"])
    return _restored(refined, ("image", "error", "features"))


def _again(network: Any, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return _restored(network.again(given["rain"], _restoration(given)), ("image", "error", "features"))


_CALLS: dict[str, Callable[[Any, Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "gauge": _rate,
    "water": _water,
    "parse": _parsed,
    "coarse": _coarse,
    "once": _once,
    "refine": _refined,
    "again": _again,
}


def _restoration(given: Mapping[str, Tensor]) -> Restoration:
    """The restoration among the inputs of a graph."""
    image, presence = given["last_image"], given["presence"]
    return Restoration(image, image[:, :1], presence, presence, given.get("last_features"))


def _restored(
    restoration: Restoration, fields: tuple[str, ...] = ("image", "error", "presence", "features", "state")
) -> dict[str, Tensor]:
    """The outputs of a graph; ``scale`` is the presence."""
    found = _present({field: getattr(restoration, field) for field in fields})
    return {NEXT_STATE if field == "state" else field: tensor for field, tensor in found.items()}


def _present(tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _axes(tensors: list[str]) -> dict[str, dict[int, str]]:
    """Names of the axes that vary, by tensor; maps of one size share them."""
    images = ("image", "recent", "rain", "error", "last_image")
    axes = {}
    for name in tensors:
        size = ("height", "width") if name in images else (f"{name}_height", f"{name}_width")
        axes[name] = {0: "batch"} if name in _VECTORS else {0: "batch", 2: size[0], 3: size[1]}
    return axes
