"""Model folders: ``models/<name>/`` holds ``model.safetensors`` (float16) and ``card.yaml``.

The card says which networks the weights belong to, the class lists, the file's
hash, and what the model was trained on and measured at. Loading checks hash,
networks and tensors and refuses a mismatch by name. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as serialise
from torch import nn

from ros2_derain import networks, resources

WEIGHTS, CARD = "model.safetensors", "card.yaml"
PARTS = ("derainer", "parser", "gauge")


class ModelError(Exception):
    """A model cannot be used; the message names the folder, what is wrong and what to do."""


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model.

    Attributes:
        name: of the model.
        networks: for each of derainer, parser and gauge its network's name and options.
        classes: semantic classes in the order of their ids.
        objects: detection classes in the order of their ids.
        sha256: of the weights file, hex.
        training: recipe, data and licence of the data.
        results: what commands of the project measured, by data set: ``by`` (the command), ``frames``,
            ``rows`` and the settings that matter.
    """

    name: str
    networks: dict[str, dict]
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    sha256: str
    training: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)


def find(name: str) -> Path:
    """The folder of a model: a name under a ``models/`` directory, or a path to a folder.

    Raises:
        ModelError: there is none; the message lists the known names.
    """
    if is_path(name):
        folder = Path(name).expanduser()
        if (folder / CARD).is_file():
            return folder
        raise ModelError(f"no model at {name}: {folder / CARD} is missing")
    for directory in resources.models_dirs():
        if (directory / name / CARD).is_file():
            return directory / name
    known = ", ".join(sorted({folder.name for folder in folders()})) or "none"
    raise ModelError(f"no model named {name!r}; known: {known}; or give the path of a model folder")


def is_path(name: str) -> bool:
    """Whether :func:`find` takes it for a path instead of a name."""
    return os.sep in name or name.startswith((".", "~"))


def folders() -> list[Path]:
    """Every model folder that ships with the package."""
    found = [path.parent for directory in resources.models_dirs() for path in directory.glob(f"*/{CARD}")]
    return sorted(found, key=lambda folder: folder.name)


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder.

    Raises:
        ModelError: the card is missing, no YAML, or lacks a field.
    """
    path = folder / CARD
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"model card {path} cannot be read: {error}") from error
    required = ("name", "networks", "classes", "objects", "sha256")
    missing = [key for key in required if not isinstance(data, dict) or key not in data]
    if missing:
        raise ModelError(f"model card {path} lacks {', '.join(missing)}")
    return ModelCard(
        name=data["name"],
        networks=data["networks"],
        classes=tuple(data["classes"]),
        objects=tuple(data["objects"]),
        sha256=data["sha256"],
        training=data.get("training", {}),
        results=data.get("results", {}),
    )


def load(folder: Path, parts: tuple[str, ...] = PARTS) -> tuple[ModelCard, dict[str, nn.Module]]:
    """Card and networks (float32, evaluation mode, CPU) of a model folder.

    Args:
        folder: from :func:`find`.
        parts: which networks to build.

    Raises:
        ModelError: hash, network, tensor names or shapes do not match the card.
    """
    card = read_card(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"weights {path} cannot be read: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.sha256:
        raise ModelError(
            f"weights {path} are not those of the card: sha256 is {digest[:12]}..., the card says "
            f"{card.sha256[:12]}...; restore the file from its source"
        )
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"weights {path} are not a safetensors file: {error}") from error
    return card, {part: _build(folder, card, part, tensors) for part in parts}


def save(folder: Path, card: ModelCard, modules: dict[str, nn.Module]) -> ModelCard:
    """Write a model folder; weights as float16. Files appear whole or not at all.

    Args:
        card: its ``sha256`` is replaced by the hash of what is written.
        modules: the networks by part, matching ``card.networks``.

    Returns:
        the card as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{part}.{name}": tensor.detach()
        .to("cpu", torch.float16 if tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    data = serialise(tensors)
    written = ModelCard(**{**card.__dict__, "sha256": hashlib.sha256(data).hexdigest()})
    partial = folder / f".{WEIGHTS}.partial"
    partial.write_bytes(data)  # safetensors' own files are for their writer's eyes alone
    partial.replace(folder / WEIGHTS)
    write_card(folder, written)
    return written


def write_card(folder: Path, card: ModelCard) -> None:
    """Write ``card.yaml``; the file appears whole or not at all."""
    data = json.loads(json.dumps(card.__dict__))  # plain lists, and no two places that share one object
    partial = folder / f".{CARD}.partial"
    partial.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))
    partial.replace(folder / CARD)


def _build(folder: Path, card: ModelCard, part: str, tensors: dict[str, torch.Tensor]) -> nn.Module:
    try:
        described = card.networks[part]
        module = networks.create(described["network"], **described.get("options", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"model {folder}: the card's {part} is not usable: {error}") from error
    prefix = f"{part}."
    given = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = module.state_dict()
    _refuse(folder, part, "lacks", expected.keys() - given.keys())
    _refuse(folder, part, "has unknown", given.keys() - expected.keys())
    _refuse(
        folder, part, "has wrong shapes for", {k for k in expected if expected[k].shape != given[k].shape}
    )
    module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in given.items()})
    return module.eval()


def _refuse(folder: Path, part: str, what: str, names: set[str]) -> None:
    if names:
        some = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ModelError(
            f"model {folder}: {part} {what} tensor {some}; card and weights do not belong together"
        )
