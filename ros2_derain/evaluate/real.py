"""``ros2-derain evaluate real``: real rain and wet glass, without a clean reference image."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ros2_derain import engine_options, options, overlay
from ros2_derain.data import ImageDataset, ImageIndex
from ros2_derain.data.images import (
    check_unique_stems,
    left_out_note,
    list_images,
    read_image,
    side_by_side,
    split_side_by_side,
    usable,
    write_image,
)
from ros2_derain.engine import GATE_MEASURES, Engine, LoadedModel
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.gate import read_glass
from ros2_derain.evaluate.labelled_files import add_height_scale, add_selection, selection
from ros2_derain.metrics import MetricError
from ros2_derain.metrics.niqe import niqe
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress

SHOWN = 12
"""Strips in the report; all are written as images."""
OPACITY = 0.45
COLUMNS = ("Before", "After", "Classes and detections")
HIDDEN_COLUMN = "Seen as hidden by water"
"""A further one, where the gauge sees that."""

EPILOG = """examples:
  ros2-derain evaluate real --images DATA/real_rain --out out/real_rain
  ros2-derain evaluate real --images DATA/sequences/ntu_real_ra1 --sequence --fps 25 --out out/ntu
  ros2-derain evaluate real --images DATA/real_rain_web --select 'rain19*,rain202*' --out out/drops
  ros2-derain evaluate real --images D/images --index D/index.csv --only condition=rain --out out/rain

DIR gets real.json, report.html and strips/ with a JPEG of before | after | classes and detections,
and, where the gauge measures it, what water hides, for each image. A lower NIQE is better; the project's
own fit does not compare with published values.
The rain rate after is the gauge's estimate for the clean image on its own. Flagged: water covers as much
of the image as opens the gate."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "NIQE and rain rate of real rainy images before and after, and strips to look at."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--sequence", action="store_true", help="the images are a clip: use the previous frame"
    )
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of --sequence (default: 15)")
    parser.add_argument(
        "--prior",
        type=engine_options.one_prior,
        help="of the loop (default: closed_loop, with --sequence temporal)",
    )
    engine_options.add_iterations(parser)
    parser.add_argument("--gate", action="store_true", help="leave images without rain untouched")
    parser.add_argument("--frames", type=options.positive(int), help="only the first N images")
    add_height_scale(parser)
    add_selection(parser)
    engine_options.add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Process every image and write everything below --out; returns the exit status."""
    real = RealRain.open(args)
    evaluation.run(real, args.out / "real.json", args.out / "report.html")
    print(f"\nreport: {args.out / 'report.html'}\nstrips: {real.strips}")
    return 0


@dataclass(frozen=True)
class RealRain(Evaluation):
    """A model on images of real rain.

    Attributes:
        engine: restores and parses.
        gauge: estimates the rain that is left: its gate never opens.
        images: to restore.
        fps: frames per second of a clip; None: single images.
        strips: folder for before | after | classes.
    """

    engine: Engine
    gauge: Engine
    images: ImageDataset
    fps: float | None
    strips: Path

    @classmethod
    def open(cls, args: argparse.Namespace) -> RealRain:
        """Model and data of the options of :func:`add_arguments`; makes the folder of the strips."""
        images = list_images(args.images)
        index = ImageIndex.read(args.index) if args.index else None
        chosen = selection(args).indices(images, index)[: args.frames]
        listed = [images[number] for number in chosen]
        check_unique_stems(listed)
        paths, left_out = usable(listed, read_image)
        prior = args.prior or ("temporal" if args.sequence else "closed_loop")
        used = {"prior": prior, "iterations": args.iterations, "gate": args.gate}
        settings = engine_options.settings(args, **used)
        fps = args.fps if args.sequence else None
        model = LoadedModel.load(settings)
        engine = Engine.of(model, settings)
        never: dict[str, Any] = {f"gate_open_{measure}": math.inf for measure in GATE_MEASURES}
        gauge = Engine.of(model, replace(settings, prior="none", gate=True, **never))
        strips = args.out / "strips"
        strips.mkdir(parents=True, exist_ok=True)
        data = evaluation.describe_data(args.images, paths)
        used |= {"fps": fps, "height_scale": args.height_scale}
        head = evaluation.describe_run("real", data, used, engine.identity)
        note = left_out_note(left_out, len(listed))
        scaled = ImageDataset(paths).stretched(args.height_scale)
        return cls(head, note, engine, gauge, scaled, fps, strips)

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`; a clip is never cached, as every frame needs the previous one."""
        images = []
        with Progress("images", len(self.images)) as progress:
            for index, path in enumerate(self.images.images):
                if self.fps is None:
                    images.append(cache.get(path.stem, partial(self._score, index, None)))
                else:
                    images.append(self._score(index, index / self.fps))
                progress.step()
        figures = [{key: value for key, value in image.items() if key != "image"} for image in images]
        mean = {"image": f"mean of {len(images)}", **statistics.mean_row(figures)}
        return {**self.provenance, "frames": len(images), "rows": [mean], "images": images}

    def _score(self, index: int, time_s: float | None) -> dict:
        """NIQE and rain rate of an image before and after, and what the gauge saw; writes its strip."""
        path, before = self.images.images[index], self.images[index].image
        scene, perception = evaluation.process(self.engine, before, path, time_s)
        drawn = overlay.draw(scene.image, perception, self.engine.identity.colours, OPACITY)
        strip = [before, scene.image, drawn]
        if scene.obstruction is not None:
            strip.append(overlay.mark_hidden(before, scene.obstruction))
        write_image(self.strips / f"{path.stem}.jpg", side_by_side(strip))
        return {
            "image": path.stem,
            "niqe": _niqe(before),
            "niqe_after": _niqe(scene.image),
            "read_mm_h": scene.rain.rate,
            "read_after_mm_h": evaluation.restore(self.gauge, scene.image, path).rain.rate,
            **read_glass(scene.view, self.engine.restorer.settings),
        }

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        return tables.table([*result["images"], *result["rows"]])

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: means, a table of all images, and some of the strips."""
        (mean,), images = result["rows"], result["images"]
        rate, niqe_before = tables.number(mean["read_mm_h"]), tables.number(mean["niqe"])
        columns = (*COLUMNS, HIDDEN_COLUMN) if "coverage" in mean else COLUMNS
        tiles = [
            Tile("Rain rate after", tables.number(mean["read_after_mm_h"]), f"mm/h, before {rate}"),
            Tile("NIQE after", tables.number(mean["niqe_after"]), f"before {niqe_before}; lower is better"),
        ]
        if "coverage" in mean:
            flagged, covered = tables.percent(mean["flagged"]), tables.percent(mean["coverage"])
            tiles.append(
                Tile("Water on the glass", f"{flagged} %", f"of the images; mean {covered} % covered")
            )
        shown = sorted({round(k * (len(images) - 1) / (SHOWN - 1)) for k in range(SHOWN)})
        return Report(
            title="Real rain",
            subtitle=evaluation.model_on(result, f"{len(images)} images of {result['data']['name']}"),
            verdict="Judge by the images: without a clean reference the figures are only a hint.",
            tiles=tiles,
            sections=[
                Strips(
                    "Before, after, classes and detections",
                    f"{len(shown)} of {len(images)}; all of them are in {self.strips.name}/.",
                    columns,
                    [self._strip(images[index], len(columns)) for index in shown],
                ),
                Table("Every image", "", *tables.cells([*images, mean])),
            ],
        )

    def _strip(self, image: Mapping, columns: int) -> Strip:
        strip = read_image(self.strips / f"{image['image']}.jpg")
        caption = f"{image['image']} · {image['read_mm_h']:.0f} → {image['read_after_mm_h']:.0f} mm/h"
        if "coverage" in image:
            caption += f" · {100 * image['coverage']:.1f} % covered"
        return Strip(caption, split_side_by_side(strip, columns))


def _niqe(image: np.ndarray) -> float | None:
    """None for an image that is too small or too uniform for NIQE."""
    try:
        return statistics.finite(niqe(image))
    except MetricError:
        return None
