"""A dry clip through rendered wet glass: what of the water is seen, and what restoring wins back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ros2_derain import overlay
from ros2_derain.engine import Engine, Interpreter, Restored
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.glass_scores import HIDDEN, GlassScore, PsnrByArea, gains
from ros2_derain.evaluate.labelled_clip import LabelledClip, Sample
from ros2_derain.evaluate.perception_in_rain import LEAD_IN
from ros2_derain.evaluate.scores import LabelScore, recovery
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.charts import Axis, Series
from ros2_derain.reporting.page import Curve, Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress

CAMERAS = ("moving", "still")

DRY, ALL = "dry", "all glass"
"""Rows of the clip without glass, and means over all glasses."""

CAMERA_IMAGE = "input"
"""Row of the parser on the camera's image; the others are of the loop, one of which forgets:"""
FORGETFUL = "loop, no memory"
LOOPS = {"on": "loop", "off": FORGETFUL}
"""By the option ``--memory``."""

PRINTED = (
    "glass", "camera", "input", "coverage_true", "coverage", "coverage_error", "spearman", "mask_iou",
    "false_coverage", "gate_open", "psnr_db", "psnr_hidden_db", "psnr_visible_db", "miou", "recovery_miou",
)  # fmt: skip
"""Columns of the table in the terminal; the page has all."""

COLUMNS = ("Through the glass", "Seen as hidden", "Truly hidden", "Restored")


@dataclass(frozen=True)
class GlassPass:
    """One pass over the clip.

    Attributes:
        camera: of :data:`CAMERAS`: ``still`` shows the middle image of the clip all the time.
        overlay: the glass; it has none for :data:`DRY`.
    """

    camera: str
    overlay: RainOverlay

    @property
    def glass(self) -> str:
        """Name of the glass."""
        return self.overlay.label

    @property
    def caption(self) -> str:
        """For people."""
        return self.overlay.caption if self.overlay.glass else self.glass

    @property
    def key(self) -> str:
        """Identifies the pass in a cache."""
        return f"{self.glass}, seed {self.overlay.seed}, {self.camera}"

    def samples(self, clip: LabelledClip) -> Iterator[tuple[float, Sample]]:
        """Time in seconds and dry frame, in order."""
        if self.camera == "still":
            middle = clip[len(clip) // 2]
            return ((number / clip.fps, middle) for number in range(len(clip)))
        return ((sample.time_s, sample) for sample in clip)


@dataclass(frozen=True)
class GlassOnClip(Evaluation):
    """A model on a clip through wet glass.

    Attributes:
        engines: of the model, by the names of :data:`LOOPS`.
        clip: dry images, with label maps if there are any.
        passes: over the clip; of each camera the dry one first.
    """

    engines: Mapping[str, Engine]
    clip: LabelledClip
    passes: Sequence[GlassPass]

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: rows of each glass and input, readings of every frame."""
        length, measured = len(self.clip), []
        with Progress("frames", len(self.passes) * length) as progress:
            for each in self.passes:
                if each.key in cache:
                    progress.step(length)
                measured.append(cache.get(each.key, partial(self._pass, each, progress.step)))
        readings = [
            {"glass": each.glass, "camera": each.camera, "seed": each.overlay.seed, "input": name, **frames}
            for each, found in zip(self.passes, measured, strict=True)
            for name, frames in found["readings"].items()
        ]
        rows = self._rows([found["figures"] for found in measured], readings)
        return {**self.provenance, "frames": length, "rows": rows, "readings": readings}

    def _pass(self, each: GlassPass, step: Callable[[], None]) -> dict:
        """The figures of one pass by input, and the readings of each frame by loop; JSON-ready."""
        quality = {name: PsnrByArea() for name in (CAMERA_IMAGE, *self.engines)}
        labels = {name: LabelScore(self._parser.identity.class_names) for name in quality}
        seen = {name: GlassScore(engine.restorer.settings) for name, engine in self.engines.items()}
        for engine in self.engines.values():
            engine.reset()
        for time_s, sample in each.samples(self.clip):
            view = each.overlay.view(sample.image, time_s)
            hidden = view.mask >= HIDDEN
            quality[CAMERA_IMAGE].add(view.image, sample.image, hidden)
            if self.clip.has_labels:
                found = self._parser.interpret(view.image).perception
                labels[CAMERA_IMAGE].add(found.labels, sample.labels)
            for name, engine in self.engines.items():
                at_s = None if name == FORGETFUL else time_s
                scene, found = evaluation.process(engine, view.image, sample.path, at_s)
                quality[name].add(scene.image, sample.image, hidden)
                seen[name].add(view.image, scene, hidden, view.contrast_loss)
                labels[name].add(found.labels, sample.labels)
            step()
        figures: dict[str, dict] = {name: dict(score.figures()) for name, score in quality.items()}
        for name, score in seen.items():
            figures[name] |= gains(figures[name], figures[CAMERA_IMAGE]) | score.figures()
        if self.clip.has_labels:
            for name, of_labels in labels.items():
                figures[name] |= {key: of_labels.figures()[key] for key in ("miou", "iou")}
        return {"figures": figures, "readings": {name: score.frames() for name, score in seen.items()}}

    @property
    def _parser(self) -> Interpreter:
        return next(iter(self.engines.values())).interpreter

    def _rows(self, measured: Sequence[Mapping[str, dict]], readings: Sequence[Mapping]) -> list[dict]:
        """A row for each camera, glass and input, the mean over the seeds; and the mean over the glasses."""
        by_case: dict[tuple[str, str, str], list[dict]] = {}
        for each, figures in zip(self.passes, measured, strict=True):
            for name in figures:
                by_case.setdefault((each.camera, each.glass, name), []).append(figures[name])
        rows = {case: statistics.mean_row(of_seeds) for case, of_seeds in by_case.items()}
        for camera, name in dict.fromkeys((camera, name) for camera, _, name in by_case):
            wet = [rows[case] for case in by_case if case[::2] == (camera, name) and case[1] != DRY]
            if wet:
                rows[camera, ALL, name] = statistics.mean_row(wet) | _correlation(readings, camera, name)
        for (camera, glass, name), row in rows.items():
            if "miou" in row and glass != DRY and name != CAMERA_IMAGE:
                wet_miou, dry_miou = (rows[camera, one, CAMERA_IMAGE]["miou"] for one in (glass, DRY))
                row["recovery_miou"] = recovery(row["miou"], wet_miou, dry_miou)
        return [
            {"glass": glass, "camera": camera, "input": name, **row}
            for (camera, glass, name), row in rows.items()
        ]

    def card_rows(self, result: Mapping) -> list[dict]:
        """See :meth:`Evaluation.card_rows`: without the figures of each class."""
        return [{key: value for key, value in row.items() if key != "iou"} for row in result["rows"]]

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        columns = [column for column in tables.COLUMNS if column.key in PRINTED]
        verdict = _verdict(result["rows"], next(iter(self.engines)))
        return f"{tables.table(result['rows'], columns)}\n\n{verdict}"

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: the middle of the clip through each glass, coverage, all rows."""
        rows = {(row["camera"], row["glass"], row["input"]): row for row in result["rows"]}
        loop = next(iter(self.engines))
        every, dry = (rows.get((CAMERAS[0], glass, loop), {}) for glass in (ALL, DRY))
        tiles = [
            Tile("Mask IoU", _percent(every, "mask_iou"), "of what the gauge sees as hidden"),
            Tile("Coverage", tables.number(every.get("spearman"), 3), "Spearman, seen against true"),
            Tile(
                "Hidden pixels",
                _db(every),
                f"{_gain(every)} over the input",
            ),
            Tile("False alarms", _percent(dry, "false_coverage"), "of the dry frames"),
        ]
        if self.clip.has_labels:
            back = _percent(every, "recovery_miou")
            tiles.append(Tile("mIoU given back", back, "of what the glass took from the parser"))
        return Report(
            title="Water on the glass",
            subtitle=evaluation.model_on(
                result, f"{result['frames']} frames of {result['data']['name']}, glass rendered"
            ),
            verdict=_verdict(result["rows"], loop),
            tiles=tiles,
            sections=[
                Strips(
                    "The middle of the clip",
                    "Seen and truly hidden pixels are marked.",
                    COLUMNS,
                    list(self._examples()),
                    [("hidden by water", overlay.WATER)],
                ),
                _coverage_chart([row for row in result["rows"] if row["input"] == loop]),
                Table("Every row", "", *tables.cells(result["rows"])),
            ],
        )

    def _examples(self) -> Iterator[Strip]:
        """The middle frame of the moving clip through each glass, with the first loop and seed."""
        engine, middle = next(iter(self.engines.values())), len(self.clip) // 2
        shown = {each.glass: each for each in reversed(self.passes) if each.camera == CAMERAS[0]}
        for each in reversed(shown.values()):
            engine.reset()
            for index in range(max(0, middle - LEAD_IN), middle + 1):
                sample = self.clip[index]
                view = each.overlay.view(sample.image, sample.time_s)
                scene = evaluation.restore(engine, view.image, sample.path, sample.time_s)
            yield glass_strip(each.caption, view.image, scene, view.mask)


def glass_strip(caption: str, image: np.ndarray, seen: Restored, mask: np.ndarray) -> Strip:
    """The images of :data:`COLUMNS`; without a gauge that sees obstructions the second is the first.

    Args:
        caption: begins it; the coverages follow.
        image: through the glass, H x W x 3 uint8 RGB.
        seen: the engine's output.
        mask: H x W uint8; 255 = truly hidden.
    """
    found = image if seen.obstruction is None else overlay.mark_hidden(image, seen.obstruction)
    covered = (
        tables.percent(statistics.finite(seen.view.coverage)),
        tables.percent(float(np.mean(mask >= HIDDEN))),
    )
    text = f"{caption} · {covered[0]} % seen, {covered[1]} % true"
    return Strip(text, (image, found, overlay.mark_hidden(image, mask), seen.image))


def _correlation(readings: Sequence[Mapping], camera: str, name: str) -> dict[str, float | None]:
    """Spearman's correlation of true and seen coverage over all frames; nothing where not measured."""
    chosen = [one for one in readings if (one["camera"], one["input"]) == (camera, name)]
    if not all("coverage" in one for one in chosen):
        return {}
    true, seen = ([value for one in chosen for value in one[key]] for key in ("coverage_true", "coverage"))
    return {"spearman": statistics.spearman(true, seen)}


def _coverage_chart(rows: Sequence[Mapping]) -> Curve:
    """Mean coverage of each glass as it is seen, over the true one; a line for each camera."""
    lines, most = [], 0.0
    for camera in dict.fromkeys(row["camera"] for row in rows):
        points = sorted(
            (100 * row["coverage_true"], 100 * row["coverage"])
            for row in rows
            if row["camera"] == camera and row["glass"] != ALL and "coverage" in row
        )
        if points:
            lines.append(Series(camera, [true for true, _ in points], [seen for _, seen in points]))
            most = max(most, points[-1][0])
    lines.append(Series("true", [0, most], [0, most], reference=True))
    text = "Share of the image that is hidden: mean over the frames of each glass."
    return Curve("Coverage", text, Axis("true", "%"), Axis("seen", "%"), lines)


def _verdict(rows: Sequence[Mapping], loop: str) -> str:
    """A sentence for each camera about all glasses, and one about the dry clip."""
    named = {(row["camera"], row["glass"], row["input"]): row for row in rows}
    sentences = []
    for camera in CAMERAS:
        every, before = named.get((camera, ALL, loop)), named.get((camera, ALL, CAMERA_IMAGE))
        if every and before:
            parts = [
                f"mask IoU {_percent(every, 'mask_iou')}",
                f"Spearman of the coverage {tables.number(every.get('spearman'), 3)}",
                f"hidden pixels {_db(before)} to {_db(every)} ({_gain(every)})",
            ]
            if "miou" in every:
                back = _percent(every, "recovery_miou")
                parts.append(
                    f"mIoU {_percent(before, 'miou')} to {_percent(every, 'miou')} ({back} given back)"
                )
            sentences.append(f"{camera.capitalize()} camera: {', '.join(parts)}.")
    dry = named[CAMERAS[0], DRY, loop]
    untouched, false = _percent(dry, "untouched"), _percent(dry, "false_coverage")
    return " ".join([*sentences, f"Dry: {untouched} of the frames untouched, false coverage on {false}."])


def _percent(row: Mapping, key: str) -> str:
    return f"{tables.percent(row.get(key))} %"


def _db(row: Mapping) -> str:
    return f"{tables.number(row.get('psnr_hidden_db'), 2)} dB"


def _gain(row: Mapping) -> str:
    gain = row.get("gain_hidden_db")
    return f"{tables.NONE if gain is None else format(gain, '+.2f')} dB"
