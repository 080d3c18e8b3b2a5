"""``ros2-derain models import``: a checkpoint from elsewhere as a model folder."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from ros2_derain import models, networks
from ros2_derain.model_tools import conversion

EXAMPLES = """examples:
  ros2-derain models import net_latest.pth --network sapnet
  ros2-derain models import weights.pth --network mspfn --variant light --out models/mspfn --json

The network's options must be those of the training. Tensors are taken by name where the names are ours,
else by order and shape; the mapping is printed, so look at it. A model folder needs a scene parser and a
rain gauge too: they are copied from --base."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Make a model folder of a derainer's checkpoint (.pth, .pt, .safetensors)."
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, help="the checkpoint; no code in it is ever run")
    parser.add_argument(
        "--network", required=True, choices=networks.derainers(), help="whose weights they are"
    )
    parser.add_argument("--variant", help="its published size (default: the paper's own)")
    parser.add_argument("--base", default="loopnet", help="model for parser and gauge (default: loopnet)")
    parser.add_argument("--out", type=Path, help="model folder to write (default: models/NETWORK)")
    parser.add_argument("--json", action="store_true", help="print the mapping as JSON")


def main(args: argparse.Namespace) -> int:
    """Convert, write, tell the mapping; returns the exit status."""
    out = args.out or Path("models") / args.network
    if out.exists():
        raise models.ModelError(f"{out} is there already: name another folder by --out, or remove it")
    base, parts = models.load(models.find(args.base), ("parser", "gauge"))
    described = {"network": args.network, "options": _options(args.network, args.variant, base)}
    derainer = _create(described)
    done = conversion.convert(conversion.read(args.file), derainer, args.network)
    card = _card(out, described, base, args.file, done.how)
    written = models.save(out, card, {"derainer": derainer, **parts})
    _tell(args.json, out, written, done)
    return 0


def _card(out: Path, described: dict, base: models.ModelCard, file: Path, how: str) -> models.ModelCard:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    licence = f"derainer: that of the imported file; the rest: {base.training.get('licence', 'not stated')}"
    training = {
        "imported": {"file": file.name, "sha256": digest, "tensors": how},
        "base": {"name": base.name, "sha256": base.sha256, "parts": ["parser", "gauge"]},
        "licence": licence,
    }
    used = {"derainer": described} | {part: base.networks[part] for part in ("parser", "gauge")}
    return models.ModelCard(out.name, used, base.classes, base.objects, "", training)


def _options(network: str, variant: str | None, base: models.ModelCard) -> dict:
    options: dict = {} if variant is None else {"variant": variant}
    return options | ({"classes": len(base.classes)} if network in ("ubcn", "loopnet") else {})


def _create(described: dict) -> nn.Module:
    torch.manual_seed(0)
    try:
        return networks.create(described["network"], **described["options"])
    except (TypeError, ValueError) as error:
        raise models.ModelError(f"network {described['network']}: {error}") from error


def _tell(as_json: bool, out: Path, card: models.ModelCard, done: conversion.Conversion) -> None:
    if as_json:
        mapping = [{"from": theirs, "to": ours, "shape": list(shape)} for theirs, ours, shape in done.rows]
        told = {"model": str(out), "sha256": card.sha256, "mapped": done.how, "tensors": mapping}
        print(json.dumps(told, indent=2))
        return
    width = max(len(theirs) for theirs, _, _ in done.rows)
    for theirs, ours, shape in done.rows:
        print(f"  {theirs:<{width}}  ->  {ours}  {'x'.join(map(str, shape)) or 'scalar'}")
    print(f"{out}: {len(done.rows)} tensors {done.how}, sha256 {card.sha256[:16]}; not measured yet")
