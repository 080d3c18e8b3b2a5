"""Model folders: ``models/<name>/`` holds ``model.safetensors`` (float16) and ``card.yaml``.

The card says which networks the weights belong to, the class lists, the file's
hash, and what the model was trained on and measured at. Loading checks hash,
networks and tensors and refuses a mismatch by name. Nothing is ever unpickled.

Parts may come from elsewhere, as ONNX files beside the weights (:mod:`ros2_derain.onnx_parts`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as serialise
from torch import nn
from typing_extensions import NotRequired, TypedDict

from ros2_derain import networks, resources
from ros2_derain.onnx_parts import KINDS, Kind, OnnxPart
from ros2_derain.validation import STRICT, read_yaml, validated

WEIGHTS, CARD = "model.safetensors", "card.yaml"
PARTS = ("derainer", "parser", "gauge")
_ALWAYS = ("name", "networks", "classes", "objects", "sha256", "training", "results")


class ModelError(Exception):
    """A model cannot be used; the message names the folder, what is wrong and what to do."""


class PartCard(TypedDict):
    """One network of a model: its name in :mod:`ros2_derain.networks` and its options."""

    network: str
    options: NotRequired[dict[str, Any]]


@dataclass(frozen=True, config=STRICT)
class PriorTable:
    """How the model's semantic classes become those that its derainer was trained with.

    Attributes:
        classes: of the derainer, in the order of their ids.
        meaning: the derainer's class for a class of the model; the probability of others is dropped.
    """

    classes: tuple[str, ...]
    meaning: dict[str, str]

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.meaning.values()) - set(self.classes)):
            raise ValueError(f"{', '.join(unknown)} is none of the derainer's classes")


@dataclass(frozen=True, config=STRICT)
class ModelCard:
    """What is known of a model.

    Attributes:
        name: of the model.
        networks: for each of derainer, parser and gauge its network's name and options. A derainer or a
            parser that ``onnx`` replaces as a whole is absent.
        classes: semantic classes in the order of their ids.
        objects: detection classes in the order of their ids.
        sha256: of the weights file, hex.
        onnx: parts that are ONNX files: ``segmentation``, ``detector``, ``derainer``, ``parser``.
        prior: for a derainer that was trained with other classes; None: with the model's.
        colours: RGB of classes in overlays; others have one by their name.
        training: the runs behind the weights: recipe, data with licences, steps, seconds, ancestors.
        results: what commands of the project measured, by dataset: ``by`` (the command), ``frames``,
            ``rows`` and the settings that matter.
    """

    name: str
    networks: dict[str, PartCard]
    classes: tuple[str, ...]
    objects: tuple[str, ...]
    sha256: str
    onnx: dict[Kind, OnnxPart] = field(default_factory=dict)
    prior: PriorTable | None = None
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all files of the model, hex; that of the weights where there is no other file."""
        if not self.onnx:
            return self.sha256
        hashes = (self.sha256, *(self.onnx[kind].sha256 for kind in KINDS if kind in self.onnx))
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def __post_init__(self) -> None:
        for kind, part in self.onnx.items():
            if part.kind != kind:
                raise ValueError(f"onnx.{kind} describes a {part.kind}")


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
        ModelError: the card is missing, no YAML, or has a field missing, unknown or of another type.
    """
    path = folder / CARD
    return validated(ModelCard, read_yaml(path, "model card", ModelError), f"model card {path}", ModelError)


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
    data = _read_checked(path, "the weights file", card.sha256)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"weights {path} are not a safetensors file: {error}") from error
    return card, {part: _build(folder, card, part, tensors) for part in parts}


def onnx_data(folder: Path, part: OnnxPart) -> bytes:
    """The ONNX file of a part.

    Raises:
        ModelError: it is missing, or not the one of the card.
    """
    return _read_checked(folder / part.file, f"the {part.kind}'s file", part.sha256)


def _read_checked(path: Path, what: str, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{what} {path} cannot be read: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ModelError(
            f"{what} {path} is not that of the card: sha256 is {digest[:12]}..., the card says "
            f"{sha256[:12]}...; restore the file from its source"
        )
    return data


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
    written = replace(card, sha256=hashlib.sha256(data).hexdigest())
    partial = folder / f".{WEIGHTS}.partial"
    partial.write_bytes(data)  # safetensors' save_file would make it readable by its owner alone
    partial.replace(folder / WEIGHTS)
    write_card(folder, written)
    return written


def write_card(folder: Path, card: ModelCard) -> None:
    """Write ``card.yaml``; the file appears whole or not at all."""
    content = {key: value for key, value in asdict(card).items() if value or key in _ALWAYS}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    partial = folder / f".{CARD}.partial"
    partial.write_text(text)
    partial.replace(folder / CARD)


def _build(folder: Path, card: ModelCard, part: str, tensors: dict[str, torch.Tensor]) -> nn.Module:
    if part not in card.networks and card.onnx:
        files = ", ".join(given.file for given in card.onnx.values())
        raise ModelError(f"model {folder} has no {part} of its own, but {files}: name another model")
    try:
        described = card.networks[part]
        module = networks.create(described["network"], **described.get("options", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"model {folder}: the card's {part} is not usable: {error}") from error
    given = part_of(tensors, part)
    if wrong := mismatch(module, given):
        raise ModelError(f"model {folder}: {part} {wrong}; card and weights do not belong together")
    module.load_state_dict(given)
    return module.eval()


def part_of(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """The tensors of a part of a model, without its name in front."""
    prefix = f"{part}."
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def mismatch(module: nn.Module, tensors: dict[str, torch.Tensor]) -> str:
    """How names and shapes of tensors differ from a module's, such as ``lacks a, b``; empty: not at all."""
    expected = module.state_dict()
    common = expected.keys() & tensors.keys()
    differences = {
        "lacks": expected.keys() - tensors.keys(),
        "has unknown": tensors.keys() - expected.keys(),
        "has another shape of": {name for name in common if expected[name].shape != tensors[name].shape},
    }
    return " and ".join(f"{what} {some(names)}" for what, names in differences.items() if names)


def some(names: Iterable[str]) -> str:
    """The first three of many names, for a message."""
    first = sorted(names)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
