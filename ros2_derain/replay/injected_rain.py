"""Rain or wet glass rendered onto a dry drive, and everything compared with the dry run.

The dry run's own outputs are the reference, so that no labels are needed: label maps that
agree with the dry run's (mIoU), boxes that find the dry run's (AP50), images that come
close to the dry ones (PSNR, SSIM). ``rain`` is the parser on the rainy image: what the
rain costs. ``derained`` is the whole loop: what is left of that cost. Glass counts as a rain of
0 mm/h, with the share of the image that its drops truly cover, and what the gauge makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ros2_derain.engine import Engine, Frame, LoadedModel, Perception, Scene
from ros2_derain.evaluate.glass_scores import HIDDEN
from ros2_derain.evaluate.scores import ParserScore, empty_perception, to_boxes
from ros2_derain.metrics import Boxes, confusion, mean_iou, psnr, ssim
from ros2_derain.rain import GLASS_PRESETS, Glass, GlassView, Rain, glass_preset
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.replay.frame_charts import FramePoint, series
from ros2_derain.replay.frame_metrics import number
from ros2_derain.reporting import tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Section, Table
from ros2_derain.reporting.statistics import finite
from ros2_derain.reporting.tables import percent

INPUTS = ("rain", "derained")
"""What the parser is fed."""
SCORES = ("miou", "ap50")
"""Figures of agreement: 1 is what the dry run reaches with itself."""
FIGURES = ("psnr_db", "ssim", *SCORES)
GLASS_FIGURES = ("coverage_true", "contrast_loss_true", "coverage", "contrast_loss", "mask_iou")
"""Of glass: means of what it truly hides, and takes from the contrast; of what the gauge estimates, None
where it does not; overlap of the hidden pixels that it finds with the true ones."""


class InjectedRain:
    """One rain rate, or one wet glass, over all cameras: keeps the figures of every frame.

    Args:
        rate: mm/h.
        seed: of the drops; each camera sees drops of its own.
        model: its classes and objects.
        glass: preset or coverage; '' for rain.

    Attributes:
        name: key of the figures: the rate, or ``glass_`` and the preset or the coverage in percent.
        title: for people.

    Raises:
        RainError: there is no such glass.
    """

    def __init__(self, rate: float, seed: int, model: LoadedModel, glass: str = "") -> None:
        self.rate = rate
        self.name, self.title, described = f"{rate:g}", f"{rate:g} mm/h", None
        if glass in GLASS_PRESETS:
            self.name, self.title, described = f"glass_{glass}", f"glass {glass}", glass_preset(glass)
        elif glass:
            described = Glass(coverage=float(glass))
            percents = f"{100 * described.coverage:g}"
            self.name, self.title = f"glass_{percents}", f"glass {percents} %"
        self.overlay = RainOverlay(self.name, Rain(rate), seed, described)
        identity = model.identity
        self._objects = identity.object_names
        self._classes = len(identity.class_names)
        self._truth: list[Boxes] = []
        self._parsers = {
            name: ParserScore(identity.class_names, identity.object_names, self._truth) for name in INPUTS
        }
        self._hidden: list[tuple[float, ...]] = []
        self._overlap = np.zeros(2, int)
        self._quality: dict[str, list[tuple[float, float]]] = {name: [] for name in INPUTS}

    def add(
        self, frame: Frame, time_ns: int, engine: Engine, camera: int, dry: Perception
    ) -> tuple[dict, Frame, Scene]:
        """Render rain onto a frame, and everything about it.

        Args:
            frame: of the dry drive.
            time_ns: of the rain.
            engine: of this camera and this rate.
            camera: the camera's number.
            dry: what the dry run saw in it.

        Returns:
            the frame's figures, JSON-ready; the rainy frame; its scene.
        """
        view = self.overlay.view(frame.image, time_ns / 1e9, camera)
        image = view.image
        rainy = replace(frame, image=image)
        scene = engine.process(rainy)
        found = {"rain": engine.interpreter.interpret(image).perception, "derained": scene.perception}
        images = {"rain": image, "derained": scene.image}
        self._truth.append(to_boxes(dry.detections, self._objects, scored=False))
        record: dict = {"rain_mm_h": number(scene.rain.rate), "mode": scene.mode.value}
        if self.overlay.glass:
            record |= self._compare(view, scene)
        for name in INPUTS:
            perception = found[name] or empty_perception(*dry.labels.shape)
            self._parsers[name].add(perception, dry.labels, None)
            quality = psnr(images[name], frame.image), ssim(images[name], frame.image)
            self._quality[name].append(quality)
            record[name] = {
                "psnr_db": number(quality[0]),
                "ssim": number(quality[1]),
                "miou": number(mean_iou(confusion(perception.labels, dry.labels, self._classes))),
                "detections": len(perception.detections),
            }
        return record, rainy, scene

    def _compare(self, true: GlassView, scene: Scene) -> dict:
        """What the glass truly hides of a frame, and what the gauge finds of it: JSON-ready."""
        found = scene.view
        shares = true.coverage, true.contrast_loss, found.coverage, found.contrast_loss
        self._hidden.append(shares)
        overlap = np.zeros(2, int)
        if scene.obstruction is not None:
            masks = true.mask >= HIDDEN, scene.obstruction >= HIDDEN
            overlap[:] = np.count_nonzero(masks[0] & masks[1]), np.count_nonzero(masks[0] | masks[1])
        self._overlap += overlap
        return dict(zip(GLASS_FIGURES, (*map(number, shares), _share(*overlap)), strict=True))

    def figures(self) -> dict:
        """Over all frames: PSNR and SSIM (means), mIoU, AP50, both per class, and ``recovery``."""
        found = {name: self._figures_of(name) for name in INPUTS}
        hidden = {}
        if self.overlay.glass:
            means = np.mean(self._hidden, axis=0) if self._hidden else 4 * [np.nan]
            hidden = dict(zip(GLASS_FIGURES, (*map(finite, means), _share(*self._overlap)), strict=True))
        return {
            "title": self.title,
            "rate_mm_h": self.rate,
            **hidden,
            "frames": len(self._truth),
            **found,
            "recovery": recoveries(found),
        }

    def _figures_of(self, name: str) -> dict:
        counted = self._parsers[name].figures()
        kept = {key: counted[key] for key in ("miou", "pixel_accuracy", "ap50", "iou")}
        kept["ap50_per_class"] = {name: values["ap50"] for name, values in counted["boxes"].items()}
        means = np.mean(self._quality[name], axis=0) if self._quality[name] else (np.nan, np.nan)
        return {"psnr_db": finite(means[0]), "ssim": finite(means[1]), **kept}


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def recovery(rain: float | None, derained: float | None) -> float | None:
    """Share of what the rain took that came back: (derained - rain) / (1 - rain); None: it took nothing."""
    if rain is None or derained is None or rain >= 1:
        return None
    return (derained - rain) / (1 - rain)


def recoveries(found: Mapping[str, Mapping]) -> dict[str, float | None]:
    """The :func:`recovery` of each score, of the figures of both inputs."""
    return {key: recovery(found["rain"][key], found["derained"][key]) for key in SCORES}


def merged(found: Sequence[Mapping]) -> dict:
    """Figures of several bags in one rain: means, weighted by the bags' frames."""

    def weighted(of: Callable[[Mapping], float | None]) -> float | None:
        known = [(value, bag["frames"]) for bag in found if (value := of(bag)) is not None and bag["frames"]]
        return sum(value * frames for value, frames in known) / sum(n for _, n in known) if known else None

    both = {
        name: {key: weighted(lambda bag, name=name, key=key: bag[name][key]) for key in FIGURES}  # type: ignore[misc]
        for name in INPUTS
    }
    hidden = {key: weighted(lambda bag, key=key: bag[key]) for key in GLASS_FIGURES if key in found[0]}  # type: ignore[misc]
    return {
        "title": found[0]["title"],
        "rate_mm_h": found[0]["rate_mm_h"],
        **hidden,
        "frames": sum(bag["frames"] for bag in found),
        **both,
        "recovery": recoveries(both),
    }


def rows(injected: Mapping[str, Mapping]) -> list[dict]:
    """Two rows for each injected rain or glass: in it, and derained with its recovery."""
    listed = []
    for found in injected.values():
        for name in INPUTS:
            kept = {key: found[name][key] for key in FIGURES}
            hidden = {key: found[key] for key in GLASS_FIGURES if key in found}
            listed.append({"rate_mm_h": found["rate_mm_h"], **hidden, "input": name, **kept})
        listed[-1] |= {f"recovery_{key}": value for key, value in found["recovery"].items()}
    return listed


def cost_sections(injected: Mapping[str, Mapping]) -> list[Section]:
    """What each injected rate costs, by its name; nothing where none was injected."""
    if not injected:
        return []
    headings, cells = tables.cells(rows(injected))
    text = (
        "The same drive with rain rendered onto it, compared with its own dry run: labels (mIoU) and boxes "
        "(AP50) that agree with it, images that come close to it. In the row “rain” the parser sees the "
        "rain; in “derained” the loop has restored the image. “Back” is the share of what the rain took "
        "that deraining gives back."
    )
    table = Table("What the rain costs, and what comes back", text, headings, cells)
    rates = sorted(found["rate_mm_h"] for found in injected.values() if found["rate_mm_h"])
    return [table, _over_the_rate(injected, rates)] if len(rates) > 1 else [table]


def _over_the_rate(injected: Mapping[str, Mapping], rates: Sequence[float]) -> Curve:
    lines = []
    for name in INPUTS:
        values = [injected[f"{rate:g}"][name]["miou"] for rate in rates]
        shares = [math.nan if value is None else 100 * value for value in values]
        lines.append(Series(name, (0, *rates), (100, *shares), reference=name == "rain"))
    text = "At 0 mm/h: the dry run itself."
    return Curve("Agreement over the rain rate", text, Axis("rain rate", "mm/h"), Axis("mIoU", "%"), lines)


def class_tables(injected: Mapping[str, Mapping]) -> list[Table]:
    """Labels and boxes of each class at each rate; nothing where none was injected."""
    if not injected:
        return []
    return [
        _class_table("Labels of each class", "IoU", "iou", injected),
        _class_table("Boxes of each class", "AP50", "ap50_per_class", injected),
    ]


def _class_table(title: str, unit: str, key: str, injected: Mapping[str, Mapping]) -> Table:
    shown = {f"{name}, {found['title']}": found[name][key] for found in injected.values() for name in INPUTS}
    classes = list(next(iter(shown.values())))
    cells = [[label, *(percent(values[label]) for values in shown.values())] for label in classes]
    text = f"{unit} in % against the dry run; – where the class does not occur."
    return Table(title, text, ["class", *shown], cells)


def frame_values(record: Mapping) -> dict[str, float]:
    """The mIoU of a frame's record in each rain, and what each glass hides, by :func:`_key`."""
    values: dict[str, float | None] = {}
    for rate, found in record.get("injected", {}).items():
        values |= {_key(rate, f"{name}.miou"): found[name]["miou"] for name in INPUTS}
        values |= {_key(rate, key): found[key] for key in GLASS_FIGURES if key in found}
    return {key: value for key, value in values.items() if value is not None}


def agreement_curves(points: Sequence[FramePoint], injected: Mapping) -> list[Curve]:
    """Agreement with the dry run over time in the last rain or glass; nothing where none was injected."""
    if not injected:
        return []
    last = list(injected)[-1]
    one_camera = len({point.camera for point in points}) == 1
    lines = []
    for name in INPUTS:
        for line in series(points, _key(last, f"{name}.miou"), scale=100, worst=min):
            title = name if one_camera else f"{name}, {line.name}"
            lines.append(Series(title, line.x, line.y, reference=one_camera and name == "rain"))
    title, text = (
        f"Agreement with the dry run, {injected[last]['title']}",
        "mIoU of the labels of every frame.",
    )
    return [Curve(title, text, Axis("time", "s"), Axis("mIoU", "%"), lines)]


def coverage_curves(points: Sequence[FramePoint], injected: Mapping) -> list[Curve]:
    """True and estimated coverage over time for each glass; nothing where none was injected."""
    curves = []
    for name, found in injected.items():
        if "coverage_true" not in found:
            continue
        lines = [
            replace(line, name=f"{line.name}, {label}", reference=label == "true")
            for key, label in (("coverage_true", "true"), ("coverage", "estimated"))
            for line in series(points, _key(name, key), scale=100)
        ]
        title = f"Covered by water, {found['title']}"
        text = "Share of the view of every frame; dashed what is truly hidden."
        curves.append(Curve(title, text, Axis("time", "s"), Axis("covered", "%"), lines))
    return curves


def _key(rate: str, name: str) -> str:
    return f"injected.{rate}.{name}"
