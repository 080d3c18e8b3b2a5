"""Weights from elsewhere into a network of ours: by name where the names are ours, else by order and shape.

Files are read without running any code of theirs: ``torch.load(weights_only=True)`` or safetensors.
"""

from __future__ import annotations

import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ros2_derain.models import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model", "params", "net")
"""Keys under which training scripts keep the weights beside other things."""

KNOWN_NAMES = {
    "sapnet": {
        r"(?:^|\.)conv_i\b": "input_gate",
        r"(?:^|\.)conv_f\b": "forget_gate",
        r"(?:^|\.)conv_g\b": "candidate",
        r"(?:^|\.)conv_o\b": "output_gate",
    }
}
"""By network: names of others that say what they are, in whatever order they come. The four gates of
SAPNet's ConvLSTM have one shape: their order alone would not tell a mistake."""


@dataclass(frozen=True)
class Conversion:
    """What became of a file: ``how`` (by name or by order) and rows of name there, name here, shape."""

    how: str
    rows: tuple[tuple[str, str, tuple[int, ...]], ...]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name and in its order, without a wrapper's ``module.`` in front.

    Raises:
        ModelError: the file is missing or broken, holds objects other than plain data, or no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            data = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol")  # of a file that is refused
                data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"checkpoint {path} is no checkpoint, or holds more than tensors, which would run code of its "
            "own when read: save its state_dict() alone, where you trust it"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"checkpoint {path} is broken or no checkpoint: {_first_line(error)}") from error
    for wrapper in WRAPPERS:
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
            break
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in (data.items() if isinstance(data, dict) else ())
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise ModelError(f"checkpoint {path} holds no tensors by name: a state_dict() is wanted")
    return tensors


def convert(given: dict[str, Tensor], module: nn.Module, network: str) -> Conversion:
    """Load foreign tensors into a network, all of them or none.

    Args:
        given: from :func:`read`.
        module: of the options that the weights were trained with.
        network: its name in the registry, for :data:`KNOWN_NAMES` and the messages.

    Raises:
        ModelError: tensors are missing, left over, of another shape or not finite in float16; it names them.
    """
    expected = module.state_dict()
    shared = given.keys() & expected.keys()
    if shared == expected.keys() or 2 * len(shared) > len(expected):
        how, pairs = "by name", _by_name(given, expected, network)
    else:
        how, pairs = "by order", _by_order(given, expected, network)
    wrong = [
        f"{theirs} {_shape(given[theirs])} for {ours} {_shape(expected[ours])}"
        for theirs, ours in pairs
        if given[theirs].shape != expected[ours].shape
    ]
    if wrong:
        raise ModelError(f"not the weights of this {network}: other shapes of {_some(wrong)}; {_ADVICE}")
    for theirs, ours in pairs:
        if not torch.isfinite(given[theirs].to(expected[ours].dtype).half()).all():
            raise ModelError(f"{theirs} holds values that float16, the format of model folders, cannot")
    module.load_state_dict({ours: given[theirs].to(expected[ours].dtype) for theirs, ours in pairs})
    return Conversion(how, tuple((theirs, ours, tuple(expected[ours].shape)) for theirs, ours in pairs))


_ADVICE = "is --network, or --variant, another one?"


def _by_name(given: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> list[tuple[str, str]]:
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        parts = [f"lacks {_some(missing)}"] if missing else []
        parts += [f"has unknown {_some(unknown)}"] if unknown else []
        raise ModelError(f"not the weights of this {network}: it {' and '.join(parts)}; {_ADVICE}")
    return [(name, name) for name in expected]


def _by_order(given: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> list[tuple[str, str]]:
    """Names that :data:`KNOWN_NAMES` knows to their own place, the others in order."""
    placed = {}
    for theirs in given:
        for pattern, part in KNOWN_NAMES.get(network, {}).items():
            ours = f"{part}.{theirs.rsplit('.', 1)[-1]}"
            if re.search(pattern, theirs) and ours in expected:
                placed[ours] = theirs
    others = [name for name in given if name not in placed.values()]
    places = [name for name in expected if name not in placed]
    if len(others) != len(places):
        count = min(len(others), len(places))
        extra = f"no tensor is left for {_some(places[count:])}" if len(places) > count else ""
        extra = extra or f"there is no place for {_some(others[count:])}"
        raise ModelError(
            f"not the weights of this {network}: {len(given)} tensors for {len(expected)}, {extra}; {_ADVICE}"
        )
    placed |= dict(zip(places, others, strict=True))
    return [(placed[ours], ours) for ours in expected]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
