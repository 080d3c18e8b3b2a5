"""``ros2-derain export RUN ... --out models/NAME``: the averaged weights of runs as one model folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ros2_derain import models
from ros2_derain.data import CAMVID_CLASSES, OBJECTS
from ros2_derain.reporting import files

from . import LearningError, checkpoints
from .checkpoints import LAST, load_part, recipe_of
from .recipe import Network

LICENCE = "research use only: some of the data is not licensed for commercial use"

EPILOG = """examples:
  ros2-derain export runs/loopnet runs/gauge --out models/loopnet
  ros2-derain export runs/loopnet --base models/loopnet --out models/better    # the gauge from the base
  ros2-derain export runs/loopnet --mean parser=runs/parse_weather --base loopnet --out models/better

--mean makes a part the mean of its weights and of those of a run that it started from, or that
started from the same weights: often better than either (Wortsman et al., Model soups, ICML 2022).
Weights are those that validated best (best.ckpt), or the last (last.ckpt) where the recipe did not
validate. Measured results stay on a model's card only while its weights stay the same.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Make a model folder of training runs."
    parser.epilog = EPILOG
    parser.add_argument("runs", type=Path, nargs="+", help="folders that `ros2-derain train` wrote")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write, e.g. models/loopnet")
    parser.add_argument(
        "--mean",
        type=_part_and_run,
        action="append",
        default=[],
        metavar="PART=RUN",
        help="the mean of the part's weights and of another run's; of several one after the other, so "
        "that the last one counts half",
    )
    parser.add_argument("--base", help="model (name or folder) for the parts that no run trained")


def main(args: argparse.Namespace) -> int:
    card = export(args.runs, args.out, args.base, args.mean)
    print(f"{args.out}: {card.name}, sha256 {card.sha256[:16]}")
    return 0


def _part_and_run(given: str) -> tuple[str, Path]:
    part, _, run = given.partition("=")
    if part not in models.PARTS or not run:
        raise argparse.ArgumentTypeError(
            f"{given!r}: expected PART=RUN, PART being {' or '.join(models.PARTS)}"
        )
    return part, Path(run)


def export(
    runs: list[Path], out: Path, base: str | None = None, means: Sequence[tuple[str, Path]] = ()
) -> models.ModelCard:
    """Write the averaged weights of runs as a model folder; it appears whole or not at all.

    Args:
        runs: each gives the parts that its task trains; a later one replaces those of an earlier one.
        out: the folder, which names the model; a former model in it is replaced.
        base: a model's name or folder, for the parts that no run trained.
        means: a part and a run each: its weights become the mean of what they are and the run's.

    Raises:
        LearningError: a run has no checkpoint, weights don't fit into float16, or together they do
            not make up a model.
        ros2_derain.models.ModelError: the base is not usable.
        ros2_derain.reporting.files.FileError: ``out`` is a folder that is no model.
    """
    modules: dict[str, nn.Module] = {}
    described: dict[str, models.PartCard] = {}
    records = []
    for run in runs:
        checkpoint = _read(run)
        trained = recipe_of(checkpoint, run)
        for part, network in trained.networks.items():
            modules[part] = _module(part, network, checkpoint["state_dict"], run)
            described[part] = {"network": network.network, "options": network.options}
        records.append(checkpoints.record(trained, checkpoint["journal"]))
    training: dict[str, Any] = {"runs": records, "licence": LICENCE}
    for part, run in means:
        training.setdefault("means", []).append(
            {"part": part, "with": _average(part, run, described, modules)}
        )
    if base:
        training["base"] = _take_rest(models.find(base), described, modules)
    missing = sorted(set(models.PARTS) - set(modules))
    if missing:
        raise LearningError(
            f"no run trained the {' and the '.join(missing)}: name a run of each task, or a model by --base"
        )
    card = models.ModelCard(out.name, described, CAMVID_CLASSES, OBJECTS, "", training=_short(training))
    return _replace(out, card, modules, base)


def _short(training: dict[str, Any]) -> dict[str, Any]:
    """The training as the card has it: recipes of the runs in full, each ancestor in one line.

    The data of all of them are listed once, with their licences; runs that weights started from are
    named without the folders in which they were.
    """
    data: dict[str, str] = {}
    runs = []
    for run in training["runs"]:
        init = {part: Path(origin).name for part, origin in run["recipe"]["init"].items()}
        _collect(run, data)
        runs.append(
            {
                "recipe": run["recipe"] | {"init": init},
                "steps": run["steps"],
                "seconds": run["seconds"],
                "started_from": _lines(run["started_from"]),
            }
        )
    short = {**training, "runs": runs}
    for key in ("base", "means"):
        _collect(training.get(key), data)
    if "base" in training:
        short["base"] = training["base"] | {"runs": _lines(training["base"]["runs"])}
    if "means" in training:
        short["means"] = [mean | {"with": _lines(mean["with"])} for mean in training["means"]]
    if "base" in short:
        short["base"].pop("data", None)
    return {**short, "data": dict(sorted(data.items()))}


def _collect(node: Any, data: dict[str, str]) -> None:
    """Add the data sets, with their licences, of everything that a node of a card describes."""
    for item in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        _collect(item, data)
    if isinstance(node, dict):
        data |= node["data"] if isinstance(node.get("data"), dict) else {}


def _lines(node: Any) -> Any:
    """A run or model that weights came from as one line; lists and parts of them likewise."""
    if isinstance(node, list):
        return [line for item in node for line in _flat(_lines(item))]
    if not isinstance(node, dict):
        return node
    if "model" in node:
        return f"model {node['model']}, sha256 {node['sha256'][:12]}"
    if "recipe" not in node:
        return {part: _lines(origin) for part, origin in node.items()}
    run = checkpoints.summary(node)
    line = f"{run['recipe']}: {run['steps']} steps, {run['seconds'] / 3600:.1f} h"
    further = [one for part in node.get("started_from", {}).values() for one in _flat(_lines(part))]
    return list(dict.fromkeys((line, *further))) if further else line


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read(run: Path) -> dict:
    path = checkpoints.find(run)
    if path is None:
        raise LearningError(f"{run / LAST} is missing: is {run} the folder of a run?")
    return checkpoints.read(path)


def _take_rest(folder: Path, described: dict[str, models.PartCard], modules: dict[str, nn.Module]) -> dict:
    """Add the parts that no run trained, from a model; returns the new card's entry for it."""
    parts = tuple(part for part in models.PARTS if part not in modules)
    card, loaded = models.load(folder, parts)
    for kind, theirs, ours in (
        ("classes", card.classes, CAMVID_CLASSES),
        ("objects", card.objects, OBJECTS),
    ):
        if theirs != ours:
            raise LearningError(
                f"base {folder} has other {kind}: {', '.join(theirs)}; runs have {', '.join(ours)}"
            )
    modules |= loaded
    described |= {part: card.networks[part] for part in parts}
    former = card.training.get("runs", []) + card.training.get("base", {}).get("runs", [])
    data = card.training.get("data", {})
    return {"name": card.name, "sha256": card.sha256, "parts": list(parts), "runs": former, "data": data}


def _module(part: str, network: Network, state: dict[str, torch.Tensor], run: Path) -> nn.Module:
    tensors = models.part_of(state, part)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.half() if tensor.is_floating_point() else tensor).all():
            raise LearningError(
                f"{run}: {part}.{name} holds values that float16 cannot represent: train it again"
            )
    module = network.create()
    load_part(module, part, tensors, str(run))
    return module


def _average(
    part: str, run: Path, described: dict[str, models.PartCard], modules: dict[str, nn.Module]
) -> dict:
    """Make a part the mean of itself and a run's; returns the card's entry for the run."""
    if part not in modules:
        raise LearningError(f"--mean {part}={run}: none of the runs trained a {part}")
    checkpoint = _read(run)
    network = Network(described[part]["network"], described[part].get("options", {}))
    theirs = _module(part, network, checkpoint["state_dict"], run).state_dict()
    ours = modules[part].state_dict()
    mean = {key: (value + theirs[key]) / 2 for key, value in ours.items() if value.is_floating_point()}
    modules[part].load_state_dict(ours | mean)
    return checkpoints.summary(checkpoints.record(recipe_of(checkpoint, run), checkpoint["journal"]))


def _replace(out: Path, card: models.ModelCard, modules: dict, base: str | None) -> models.ModelCard:
    """Write the folder; results of the same weights, measured before, are kept."""
    try:
        with files.staged(out, force=True, marker=models.CARD) as stage:
            folder = stage / out.name
            written = models.save(folder, replace(card, results={}), modules)
            for former in (out, models.find(base) if base else None):
                if former and (former / models.CARD).is_file():
                    measured = models.read_card(former)
                    if measured.sha256 == written.sha256:
                        written = replace(written, results=measured.results)
                        models.write_card(folder, written)
                        break
    except OSError as error:
        raise LearningError(f"cannot write {out}: {error}; a former model there is intact") from error
    return written
