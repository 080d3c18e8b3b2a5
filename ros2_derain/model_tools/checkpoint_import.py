"""``ros2-derain models import FILE --network NAME``: a model folder of a checkpoint.

Tensors are assigned by name if the names are this package's, else by order and shape. Files are read
without running code in them: ``torch.load(weights_only=True)`` or safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ros2_derain import models, networks
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
"""By network: patterns of foreign names that are assigned by name in any order. The four gates of SAPNet's
ConvLSTM have one shape, so that a wrong order would not be noticed."""
ADVICE = "is --network, or --variant, another one?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options for checkpoints."""
    group = parser.add_argument_group("checkpoints")
    group.add_argument("--network", choices=networks.derainers(), help="network of the weights")
    group.add_argument("--variant", help="its published size (default: the paper's own)")


def main(args: argparse.Namespace) -> int:
    """Convert the checkpoint, write the model folder, print the mapping; returns the exit status."""
    if args.network is None:
        raise ModelError(f"{args.file}: name the network of the weights by --network, or its kind by --as")
    out = args.out or Path("models") / args.network
    if out.exists():
        raise ModelError(f"{out} exists: name another folder by --out, or remove it")
    base, parts = models.load(models.find(args.base or "loopnet"), ("parser", "gauge"))
    options = {} if args.variant is None else {"variant": args.variant}
    if args.network in ("ubcn", "loopnet"):
        options["classes"] = len(base.classes)
    derainer = _create(args.network, options)
    mapping = assign(read(args.file), derainer, args.network)
    training = {
        "imported": {
            "file": args.file.name,
            "sha256": hashlib.sha256(args.file.read_bytes()).hexdigest(),
            "tensors": mapping.how,
        },
        "base": {"name": base.name, "sha256": base.sha256, "parts": ["parser", "gauge"]},
        "licence": "derainer: that of the imported file; the rest: "
        + base.training.get("licence", "not stated"),
    }
    used: dict[str, models.PartCard] = {"derainer": {"network": args.network, "options": options}}
    used |= {part: base.networks[part] for part in ("parser", "gauge")}
    card = models.ModelCard(out.name, used, base.classes, base.objects, "", training=training)
    written = models.save(out, card, {"derainer": derainer, **parts})
    _print_mapping(args.json, out, written, mapping)
    return 0


@dataclass(frozen=True)
class Mapping:
    """Where the tensors of a checkpoint went.

    Attributes:
        how: ``by name`` or ``by order``.
        rows: of each tensor the foreign name, the name in the network, and the shape.
    """

    how: str
    rows: tuple[tuple[str, str, tuple[int, ...]], ...]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name and in its order, without a wrapper's ``module.`` in front.

    Raises:
        ModelError: the file is missing or broken, holds objects other than plain data, or no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            data: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol")  # of a file that is refused
                data = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"checkpoint {path} is not a checkpoint, or holds more than tensors, which would run code when "
            "read: save its state_dict() alone, if you trust it"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"checkpoint {path} is broken or not a checkpoint: {reason}") from error
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
        raise ModelError(f"checkpoint {path} holds no tensors by name: save a state_dict()")
    return tensors


def assign(given: dict[str, Tensor], module: nn.Module, network: str) -> Mapping:
    """Load foreign tensors into a network, all of them or none.

    Args:
        given: from :func:`read`.
        module: with the options of the training.
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
        f"{foreign} {_shape(given[foreign])} for {own} {_shape(expected[own])}"
        for foreign, own in pairs
        if given[foreign].shape != expected[own].shape
    ]
    if wrong:
        raise ModelError(f"not the weights of this {network}: other shapes of {models.some(wrong)}; {ADVICE}")
    for foreign, own in pairs:
        if not torch.isfinite(given[foreign].to(expected[own].dtype).half()).all():
            raise ModelError(f"{foreign} holds values that float16, the format of model folders, cannot")
    module.load_state_dict({own: given[foreign].to(expected[own].dtype) for foreign, own in pairs})
    return Mapping(how, tuple((foreign, own, tuple(expected[own].shape)) for foreign, own in pairs))


def _by_name(given: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> list[tuple[str, str]]:
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        parts = [f"lacks {models.some(missing)}"] if missing else []
        parts += [f"has unknown {models.some(unknown)}"] if unknown else []
        raise ModelError(f"not the weights of this {network}: it {' and '.join(parts)}; {ADVICE}")
    return [(name, name) for name in expected]


def _by_order(given: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> list[tuple[str, str]]:
    """Names of :data:`KNOWN_NAMES` by name, the others in order."""
    assigned = {}
    for foreign in given:
        for pattern, part in KNOWN_NAMES.get(network, {}).items():
            own = f"{part}.{foreign.rsplit('.', 1)[-1]}"
            if re.search(pattern, foreign) and own in expected:
                assigned[own] = foreign
    others = [name for name in given if name not in assigned.values()]
    free = [name for name in expected if name not in assigned]
    if len(others) != len(free):
        count = min(len(others), len(free))
        extra = f"no tensor is left for {models.some(free[count:])}" if len(free) > count else ""
        extra = extra or f"there is no place for {models.some(others[count:])}"
        raise ModelError(
            f"not the weights of this {network}: {len(given)} tensors for {len(expected)}, {extra}; {ADVICE}"
        )
    assigned |= dict(zip(free, others, strict=True))
    return [(assigned[own], own) for own in expected]


def _create(network: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    try:
        return networks.create(network, **options)
    except (TypeError, ValueError) as error:
        raise ModelError(f"network {network}: {error}") from error


def _print_mapping(as_json: bool, out: Path, card: models.ModelCard, mapping: Mapping) -> None:
    if as_json:
        rows = [{"from": foreign, "to": own, "shape": list(shape)} for foreign, own, shape in mapping.rows]
        result = {"model": str(out), "sha256": card.sha256, "mapped": mapping.how, "tensors": rows}
        print(json.dumps(result, indent=2))
        return
    width = max(len(foreign) for foreign, _, _ in mapping.rows)
    for foreign, own, shape in mapping.rows:
        print(f"  {foreign:<{width}}  ->  {own}  {'x'.join(map(str, shape)) or 'scalar'}")
    print(f"{out}: {len(mapping.rows)} tensors {mapping.how}, sha256 {card.sha256[:16]}; not measured yet")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
