"""``ros2-derain models``: lists installed models with their cards; import and sizes are its actions."""

from __future__ import annotations

import argparse
from pathlib import Path

from ros2_derain import models
from ros2_derain.model_tools import model_import, onnx_export, quantisation, sizes
from ros2_derain.reporting.tables import table

EXAMPLES = """examples:
  ros2-derain models
  ros2-derain models import yolox_nano.onnx --as detector --classes coco --out models/mine
  ros2-derain models import net_latest.pth --network sapnet
  ros2-derain models export loopnet out/loopnet-onnx --size 640x360
  ros2-derain models quantise loopnet --images photos/ --out models/loopnet-int8
  ros2-derain models sizes
  ros2-derain demo --model NAME

A model is a folder with model.safetensors and card.yaml; its name is the folder's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "List the installed models with their cards."
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION")
    for name, module, text in (
        ("import", model_import, "make a model folder of an ONNX file or a checkpoint from elsewhere"),
        ("export", onnx_export, "write a model's networks as ONNX files, or compile them for this machine"),
        ("quantise", quantisation, "make a model whose parser computes in int8"),
        ("sizes", sizes, "parameters and GMAC of the networks' published sizes"),
    ):
        action = actions.add_parser(name, help=text, formatter_class=parser.formatter_class)
        module.add_arguments(action)
        action.set_defaults(run=module.main)
    parser.set_defaults(run=show)


def main(args: argparse.Namespace) -> int:
    """Run the chosen action; returns the exit status."""
    return args.run(args)


def show(args: argparse.Namespace) -> int:
    """Print one block per model; returns the exit status."""
    folders = models.folders()
    if not folders:
        print("No models are installed: train one with 'ros2-derain train', or give a model's folder")
    for folder in folders:
        print(describe(models.read_card(folder), folder))
    return 0


def describe(card: models.ModelCard, folder: Path) -> str:
    """A model's card as text."""
    size = (folder / models.WEIGHTS).stat().st_size / 1e6
    networks = ", ".join(f"{part} {described['network']}" for part, described in card.networks.items())
    lines = [
        card.name,
        f"  networks  {networks}",
        f"  classes   {', '.join(card.classes)}",
        f"  objects   {', '.join(card.objects)}",
        f"  weights   {size:.1f} MB, sha256 {card.sha256[:16]}",
        *(
            f"  imported  {kind}: {(part.source or {}).get('file', part.file)}"
            for kind, part in card.onnx.items()
        ),
        f"  licence   {card.training.get('licence', 'not stated')}",
        f"  folder    {folder}",
    ]
    for clip, result in card.results.items():
        lines.append(f"  measured  {clip}, {result['frames']} frames, by {result['by']}:")
        lines += [f"    {line}" for line in table(result["rows"]).splitlines()]
    return "\n".join(lines)
