"""One row of a comparison: what the other ``evaluate`` commands measure of a model, and what it costs."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources as package_files
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from ros2_derain import machine, models, networks, resources
from ros2_derain.bench import engine_timing
from ros2_derain.data import DataError, RainPairs, find_dataset, read_boxes
from ros2_derain.data.boxes import ignored_classes
from ros2_derain.data.clips import Clip
from ros2_derain.data.images import side_by_side, write_image
from ros2_derain.engine import Engine, EngineSettings
from ros2_derain.evaluate import EvaluationError, evaluation, perception, restoration
from ros2_derain.evaluate.evaluation import cached_result
from ros2_derain.model_tools import sizes
from ros2_derain.rain_media.rendering import RainOverlay

PAIR_SETS = ("rain100l_dev", "rain100h_dev")
CLIP = "camvid"
RATE_MM_H = 150.0
"""Rain of the labelled clip, and of the frames that are timed."""
MIN_SIDE = 64
TIMED_IMAGES = 4
WARM_UP_FRAMES = 2
MIN_FRAMES, MAX_FRAMES, TIMED_SECONDS = 3, 20, 15.0
"""Frames that are timed: as many as these seconds hold, within the two limits."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Data and settings, equal for all models of a comparison.

    Attributes:
        data: folder that holds ``rain_pairs``, ``camvid`` and ``boxes``.
        out: folder of the results, with a folder for each model.
        limit: number of images of each set; None: all.
        prior: for the labelled clip and the timing.
        iterations: of ``closed_loop``.
        size: width and height of the timed frames.
        device, precision, runtime: of the engine.
        card: store the figures on the cards of models that have none of these data.
    """

    data: Path
    out: Path
    limit: int | None
    prior: str
    iterations: int
    size: tuple[int, int]
    device: str
    precision: str
    runtime: str
    card: bool

    def pairs(self, name: str) -> Path:
        """Folder of a set of pairs."""
        return self.data / "rain_pairs" / name

    @property
    def clip(self) -> dict[str, Path]:
        """The labelled clip, by the options of ``evaluate perception``."""
        camvid, boxes = self.data / "camvid", self.data / "boxes/camvid_from_masks"
        images, labels, classes = camvid / "val/images", camvid / "val/labels", camvid / "classes.json"
        return {"--images": images, "--labels": labels, "--classes": classes, "--boxes": boxes}

    def check(self) -> None:
        """Check that the data are complete, before anything is measured.

        Raises:
            EvaluationError: a folder or a file is missing; the message names it.
        """
        for name in PAIR_SETS:
            RainPairs(self.pairs(name))
        images, labels, classes, boxes = self.clip.values()
        find_dataset(images, labels)
        for path in (classes, boxes / "boxes.csv", boxes / "images.csv"):
            if not path.is_file():
                raise EvaluationError(
                    f"{path} is missing: give the data folder by --data or ROS2_DERAIN_DATA"
                )

    def options(self, module: ModuleType, *words: object) -> argparse.Namespace:
        """The options of another ``evaluate`` command, as if typed, on the same device."""
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        same: list[object] = ["--device", self.device, "--precision", self.precision]
        same += ["--runtime", self.runtime, "--iterations", self.iterations]
        return parser.parse_args([str(word) for word in (*same, *words)])


def measure_untouched(settings: ComparisonSettings) -> dict:
    """The row of the rainy images themselves, without a parser; raises as :func:`_measure_pairs`."""
    return {"model": "untouched input", **_measure_pairs(settings, settings.out / "input", "--input")}


def measure_model(settings: ComparisonSettings, folder: Path) -> dict:
    """The row of a model folder; results of an earlier run are reused.

    Returns:
        figures by the keys of the table's columns; ``clip``: those of the same parser on the clean and the
        rainy clip, and of the rainy clip itself; ``missing``: what the row lacks and why, a sentence each.
    """
    try:
        card, parts = models.load(folder)
    except models.ModelError as error:
        return {"model": folder.name, "missing": [f"{folder.name} does not load: {error}"]}
    return ModelRow(settings, folder, card, parts["parser"]).measure()


@cache
def paper_figures() -> dict[str, dict[str, dict[str, str | float]]]:
    """Published figures by network and variant: columns as ``paper_figures.yaml`` explains them."""
    text = (package_files.files(__package__) / "paper_figures.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


@dataclass(frozen=True)
class ModelRow:
    """A model in a comparison.

    Attributes:
        settings: of the comparison.
        folder: of the model; its name is that of the folder of results.
        card: of the model.
        parser: its network.
    """

    settings: ComparisonSettings
    folder: Path
    card: models.ModelCard
    parser: nn.Module

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.settings.out / self.folder.name

    def measure(self) -> dict:
        """See :func:`measure_model`. Where one part fails, the others are still measured."""
        row = {"model": self.card.name, "folder": self.folder.name, **self._network()}
        missing = []
        for part in (self._pairs, self._clip, self._cost):
            try:
                row |= part()
            except (DataError, EvaluationError) as error:
                missing.append(f"{self.card.name}: {error}")
        without_boxes = self._why_without_boxes()
        if without_boxes and "miou" in row:
            missing.append(f"{self.card.name} has no AP50: {without_boxes}")
        return row | ({"missing": missing} if missing else {})

    def _network(self) -> dict:
        """The derainer's network and variant, and the figures of its paper."""
        described = self.card.networks["derainer"]
        name, options = described["network"], described.get("options", {})
        parameter = inspect.signature(networks.kind(name)).parameters.get("variant")
        variant = options.get("variant", parameter.default if parameter else "")
        network = name if variant in ("", name) else f"{name} {variant}"
        return {"network": network, **paper_figures().get(name, {}).get(variant, {})}

    def _pairs(self) -> dict:
        return _measure_pairs(self.settings, self.out, "--model", self.folder, store=self._store)

    def _store(self, result: dict, rows: list[dict] | None = None) -> None:
        if self.settings.card:
            evaluation.store_on_card(self.folder, result, rows, replace_earlier=False)

    def _clip(self) -> dict:
        """The derained clip's figures, and mIoU and AP50 of the same parser on the clean and rainy clip."""
        settings = self.settings
        options = {"--model": self.folder, "--rates": f"{RATE_MM_H:g}", "--prior": settings.prior}
        options |= settings.clip | ({"--frames": settings.limit} if settings.limit else {})
        if self._why_without_boxes():
            del options["--boxes"]
        words = [word for option in options.items() for word in option]
        _print_progress(self.out.name, "camvid/val")
        test = perception.open_evaluation(settings.options(perception, *words))
        result = cached_result(self.out / "camvid.json", test.provenance, test.measure)
        self._store(result, test.card_rows(result))
        dry, rain, loop = ({**row, "frames": result["frames"]} for row in result["rows"])
        same_parser = {"parser": _digest(self.parser), "dry": _perceived(dry), "rain": _perceived(rain)}
        return {CLIP: loop, **_perceived(loop), "clip": {**same_parser, "input": rain}}

    def _why_without_boxes(self) -> str:
        """Why the parser's boxes cannot be scored; empty where they can."""
        with torch.no_grad():
            if not self.parser(torch.zeros(1, 3, MIN_SIDE, MIN_SIDE)).candidates().scores.numel():
                return "its parser finds no boxes"
        boxes = list(read_boxes(self.settings.clip["--boxes"]).values())
        unknown = ignored_classes(boxes, self.card.objects)
        return f"the model does not detect class {', '.join(sorted(unknown))}" if unknown else ""

    def _cost(self) -> dict:
        """Parameters, GMAC, and milliseconds of the derainer and of the whole rainy frame; gate off."""
        _print_progress(self.out.name, "cost")
        settings = self.settings
        used: dict[str, Any] = {"prior": settings.prior, "iterations": settings.iterations}
        device = {key: getattr(settings, key) for key in ("device", "precision", "runtime")}
        engine = Engine.load(EngineSettings(model=str(self.folder), gate=False, **used | device))
        conditions = {"size": list(settings.size), **used, "machine": machine.describe()}
        head = evaluation.describe_run("compare", {}, conditions, engine.identity)

        def measure(_) -> dict:
            width, height = settings.size
            derainer = self.card.networks["derainer"]
            engine.warm_up(height, width)
            images = _rainy_images(settings.size)
            return {
                **head,
                **sizes.cost(derainer["network"], derainer.get("options", {}), (height, width)),
                "engine": engine_timing.timed(engine, images, WARM_UP_FRAMES, _number_of_frames),
            }

        cost = cached_result(self.out / "cost.json", head, measure)
        times = cost["engine"]["latency_ms"]
        return {
            "parameters_m": cost["parameters_m"],
            "gmac": cost["gmac"],
            "derain_ms": times["derain"]["p50"],
            "frame_ms": times["total"]["p50"],
            "ran_on": f"{cost['device']} {cost['precision']} {cost['runtime']}",
        }


def _measure_pairs(
    settings: ComparisonSettings, out: Path, *which: object, store: Callable[[dict], None] | None = None
) -> dict:
    """PSNR and SSIM of each set of pairs, by its name; writes its middle pair as a strip.

    Args:
        settings: of the comparison.
        out: folder of the results.
        which: options that name the model.
        store: called with each result.

    Raises:
        EvaluationError: an image cannot be read, or the engine failed on it.
    """
    found = {}
    limit = ("--limit", settings.limit) if settings.limit else ()
    for name in PAIR_SETS:
        _print_progress(out.name, name)
        args = settings.options(restoration, "--pairs", settings.pairs(name), *limit, *which)
        test = restoration.Restoration.open(args)
        result = cached_result(out / f"{name}.json", test.provenance, test.measure)
        if store:
            store(result)
        strip = test.strip(test.pairs[len(test.pairs) // 2])
        write_image(out / f"{name}.jpg", side_by_side(strip))
        found[name] = {**result["rows"][0], "frames": result["frames"]}
    return found


def _rainy_images(size: tuple[int, int]) -> Sequence[np.ndarray]:
    clip, rain = Clip.open(resources.path("samples/highway"), size), RainOverlay.of_rate(RATE_MM_H)
    return [rain.render(clip.read(index), index / clip.fps) for index in range(TIMED_IMAGES)]


def _number_of_frames(fps: float) -> int:
    return min(MAX_FRAMES, max(MIN_FRAMES, round(TIMED_SECONDS * fps)))


def _perceived(row: Mapping) -> dict:
    return {key: row[key] for key in ("miou", "ap50") if key in row}


def _digest(module: nn.Module) -> str:
    """SHA-256 of names and values of the weights, hex."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _print_progress(model: str, what: str) -> None:
    print(f"{model}: {what}", file=sys.stderr, flush=True)
