"""One model of a comparison: the other ``evaluate`` commands run on it, and what they found as a row."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from ros2_derain import models, networks, provenance
from ros2_derain.data.images import DataError, list_images, partners, side_by_side, write_image
from ros2_derain.engine import EngineSettings
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate import labelled_clip, paper_figures, perception, restoration
from ros2_derain.evaluate.cost import Cost
from ros2_derain.evaluate.result_cache import kept

PAIRS = ("rain100l_dev", "rain100h_dev")
CLIP = "camvid"
RATE_MM_H = 150.0
MIN_SIDE = 64


@dataclass(frozen=True)
class Setting:
    """What every model of a comparison is given.

    Attributes:
        data: folder that holds ``rain_pairs``, ``camvid`` and ``boxes``.
        out: folder of the results, one folder in it for each model.
        limit: only so many pictures of each set; None: all.
        prior: of the labelled clip and of the times.
        iterations: of ``closed_loop``.
        size: width and height of the frames that are timed.
        device, precision: as of the engine.
        card: note the figures on the cards of models that have none of these data.
    """

    data: Path
    out: Path
    limit: int | None
    prior: str
    iterations: int
    size: tuple[int, int]
    device: str
    precision: str
    card: bool

    def pairs(self, name: str) -> Path:
        """Folder of pairs."""
        return self.data / "rain_pairs" / name

    @property
    def images(self) -> Path:
        """Folder of the labelled clip's pictures."""
        return self.data / "camvid/val/images"

    @property
    def labels(self) -> Path:
        """Folder of the clip's label maps."""
        return self.data / "camvid/val/labels"

    @property
    def classes(self) -> Path:
        """Names of the clip's label ids."""
        return self.data / "camvid/classes.json"

    @property
    def boxes(self) -> Path:
        """Folder of the clip's boxes."""
        return self.data / "boxes/camvid_from_masks"

    def check(self) -> None:
        """Refuse data that no model could be scored on, before anything is measured.

        Raises:
            EvaluationError: a folder or a file is missing; the message names it.
        """
        for name in PAIRS:
            restoration.open_pairs(self.pairs(name), None, None)
        partners(list_images(self.images), self.labels, (".png",))
        for path in (self.classes, self.boxes / "boxes.csv", self.boxes / "images.csv"):
            if not path.is_file():
                raise EvaluationError(
                    f"{path} is missing: give the data folder by --data or ROS2_DERAIN_DATA"
                )

    def options(self, module: ModuleType, *words: object) -> argparse.Namespace:
        """The options of another ``evaluate`` command, as if typed, on the same device."""
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        same = ["--device", self.device, "--precision", self.precision, "--iterations", self.iterations]
        return parser.parse_args([str(word) for word in (*same, *words)])


def untouched(setting: Setting) -> dict:
    """The row of the rainy pictures themselves, as far as no parser is needed; raises as :func:`pairs`."""
    return {"model": "untouched input", **pairs(setting, setting.out / "input", "--input")}


def measure(setting: Setting, folder: Path) -> dict:
    """The row of a model folder; what an earlier run has found is taken over.

    Returns:
        figures by the keys of the table's columns; ``clip``: of the same parser on the clean and the
        rainy clip, and the rainy clip's own; ``missing``: what the row lacks and why, a sentence each.
    """
    try:
        card, networks_of = models.load(folder)
    except models.ModelError as error:
        return {"model": folder.name, "missing": [f"{folder.name} does not load: {error}"]}
    return Contender(setting, folder, card, networks_of["parser"]).row()


@dataclass(frozen=True)
class Contender:
    """A model in a comparison.

    Attributes:
        setting: what every model is given.
        folder: of the model; its name is that of the folder of results.
        card: its own.
        parser: its network.
    """

    setting: Setting
    folder: Path
    card: models.ModelCard
    parser: nn.Module

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.setting.out / self.folder.name

    def row(self) -> dict:
        """See :func:`measure`. Where one part fails, the others are still measured."""
        row = {"model": self.card.name, "folder": self.folder.name, **self._network()}
        missing = []
        for part in (self._pairs, self._clip, self._cost):
            try:
                row |= part()
            except (DataError, EvaluationError) as error:
                missing.append(f"{self.card.name}: {error}")
        lacking = self._without_boxes()
        if lacking and "miou" in row:
            missing.append(f"{self.card.name} has no AP50: {lacking}")
        return row | ({"missing": missing} if missing else {})

    def _network(self) -> dict:
        """The derainer's network and variant, and what its paper prints."""
        described = self.card.networks["derainer"]
        name, options = described["network"], described.get("options", {})
        parameter = inspect.signature(networks.kind(name)).parameters.get("variant")
        variant = options.get("variant", parameter.default if parameter else "")
        found = paper_figures.of(name, variant)
        told = {"network": name if variant in ("", name) else f"{name} {variant}"}
        return told | (found.cells() | {"printed_beside": found.beside} if found else {})

    def _pairs(self) -> dict:
        return pairs(self.setting, self.out, "--model", self.folder, noted=self._noted)

    def _noted(self, result: dict, rows: list[dict] | None = None) -> None:
        if self.setting.card:
            provenance.note_on_card(self.folder, result, rows, anew=False)

    def _clip(self) -> dict:
        """The derained clip's figures, and mIoU and AP50 of the same parser on the clean and rainy clip."""
        setting = self.setting
        words = ["--images", setting.images, "--labels", setting.labels, "--classes", setting.classes]
        words += ["--model", self.folder, "--rates", f"{RATE_MM_H:g}", "--prior", setting.prior]
        words += ["--frames", setting.limit] if setting.limit else []
        words += [] if self._without_boxes() else ["--boxes", setting.boxes]
        _say(self.out.name, "camvid/val")
        run = perception.Run.open(setting.options(perception, *words))
        result = kept(self.out / "camvid.json", run)
        self._noted(result, perception.card_rows(result))
        dry, rain, loop = ({**row, "frames": result["frames"]} for row in result["rows"])
        seen = {"parser": _digest(self.parser), "dry": _perceived(dry), "rain": _perceived(rain)}
        return {CLIP: loop, **_perceived(loop), "clip": seen | {"input": rain}}

    def _without_boxes(self) -> str:
        """Why the parser's boxes cannot be scored; empty where they can."""
        with torch.no_grad():
            if not self.parser(torch.zeros(1, 3, MIN_SIDE, MIN_SIDE)).levels:
                return "its parser finds no boxes"
        try:
            labelled_clip.read_boxes(self.setting.boxes, (), self.card.objects)
        except (DataError, EvaluationError) as error:
            return str(error)
        return ""

    def _cost(self) -> dict:
        setting = self.setting
        _say(self.out.name, "cost")
        settings = EngineSettings(
            model=str(self.folder),
            device=setting.device,
            precision=setting.precision,
            prior=setting.prior,
            iterations=setting.iterations,
            gate=False,
        )
        found = kept(self.out / "cost.json", Cost.open(self.card, settings, setting.size))
        times = found["engine"]["latency_ms"]
        return {
            "parameters_m": found["parameters_m"],
            "gmac": found["gmac"],
            "derain_ms": times["derain"]["p50"],
            "frame_ms": times["total"]["p50"],
            "ran_on": f"{found['device']} {found['precision']}",
        }


def pairs(setting: Setting, out: Path, *which: object, noted: Callable[[dict], None] | None = None) -> dict:
    """PSNR and SSIM on each set of pairs, by its name; its middle pair is kept as a strip, to be looked at.

    Args:
        out: folder of the results.
        which: options that name the model.
        noted: is given each result.

    Raises:
        EvaluationError: a picture cannot be read, or the engine failed on it.
    """
    found = {}
    limit = ("--limit", setting.limit) if setting.limit else ()
    for name in PAIRS:
        _say(out.name, name)
        args = setting.options(restoration, "--pairs", setting.pairs(name), *limit, *which)
        run = restoration.Run.open(args)
        result = kept(out / f"{name}.json", run)
        if noted:
            noted(result)
        strip = restoration.columns(run.engine, run.pairs[len(run.pairs) // 2])
        write_image(out / f"{name}.jpg", side_by_side(strip))
        found[name] = {**result["rows"][0], "frames": result["frames"]}
    return found


def _perceived(row: Mapping) -> dict:
    return {key: row[key] for key in ("miou", "ap50") if key in row}


def _digest(module: nn.Module) -> str:
    """Of names and values of the weights, hex."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _say(model: str, what: str) -> None:
    print(f"{model}: {what}", file=sys.stderr, flush=True)
