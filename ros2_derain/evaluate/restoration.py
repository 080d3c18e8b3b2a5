"""``ros2-derain evaluate restoration``: pairs of rainy and clean images, each on its own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, options
from ros2_derain.data import LAYOUTS, Pair, RainPairs
from ros2_derain.data.images import left_out_note, side_by_side, write_image
from ros2_derain.engine import Engine
from ros2_derain.evaluate import EvaluationError, evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.metrics.image import fsim, psnr, psnr_y, ssim, ssim_y
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress

SHOWN = 6
"""Pairs in the report: those of lowest and highest PSNR."""

EPILOG = """examples:
  ros2-derain evaluate restoration --pairs DATA/rain_pairs/rain100l_dev --json out/rain100l.json
  ros2-derain evaluate restoration --pairs DATA/rain_pairs/rain100l_dev --input

DIR has a layout of the public sets, such as rain/1.png beside clean/1.png; one with both images in a
file is named by --layout. Y is the luma of MATLAB's rgb2ycbcr. The rain gate
and the filling of what water on the glass hides are off, and nothing is carried from one image to the
next, so that only the priors closed_loop and none apply."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "PSNR and SSIM on Y and RGB and FSIM of derained images compared with clean ones."
    parser.epilog = EPILOG
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="rainy and clean images")
    parser.add_argument("--layout", choices=LAYOUTS, help="of DIR (default: the one that it shows)")
    parser.add_argument("--input", action="store_true", help="score the untouched input; no model is used")
    parser.add_argument(
        "--names", type=Path, metavar="FILE", help="only the images that it names, a stem per line"
    )
    parser.add_argument("--except-names", type=Path, metavar="FILE", help="all images but these")
    parser.add_argument("--limit", type=options.positive(int), metavar="N", help="only the first N of them")
    parser.add_argument(
        "--prior", default="closed_loop", choices=("closed_loop", "none"), help="(default: %(default)s)"
    )
    engine_options.add_iterations(parser)
    parser.add_argument("--gate", action="store_true", help="leave images without rain untouched")
    parser.add_argument("--strips", type=Path, metavar="DIR", help="write rainy | derained | clean here")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Score every pair; returns the exit status."""
    if args.input and args.card:
        raise EvaluationError("--input scores no model, so there is no card to store results on: omit --card")
    restoration = Restoration.open(args)
    evaluation.run(restoration, args.json, options.report_path(args), args.card and args.model)
    if args.strips:
        restoration.write_strips(args.strips)
    return 0


@dataclass(frozen=True)
class Restoration(Evaluation):
    """A model on pairs of images.

    Attributes:
        engine: restores; None: the untouched input is scored.
        pairs: rainy and clean images.
    """

    engine: Engine | None
    pairs: RainPairs

    @classmethod
    def open(cls, args: argparse.Namespace) -> Restoration:
        """Model and data of the options of :func:`add_arguments`; raises as :class:`RainPairs`."""
        pairs = RainPairs(args.pairs, args.layout).selected(args.names, args.except_names, args.limit)
        pairs, left_out = pairs.usable()
        engine, settings = None, {"input": True}
        if not args.input:
            settings = {
                "prior": args.prior,
                "iterations": args.iterations,
                "gate": args.gate,
                "fill_hidden": False,
                "restore_contrast": False,
            }
            engine = Engine.load(engine_options.settings(args, **settings))
        data = evaluation.describe_data(args.pairs, (path for files in pairs.files for path in files))
        identity = engine.identity if engine else None
        head = evaluation.describe_run("restoration", data, settings, identity)
        note = left_out_note(left_out, len(left_out) + len(pairs))
        return cls(head, note, engine, pairs)

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: the figures of every pair, their mean and spread."""
        images, figures = [], []
        with Progress("pairs", len(self.pairs)) as progress:
            for index, name in enumerate(self.pairs.names):
                figures.append(cache.get(name, partial(self._score, index)))
                images.append({"image": name, **figures[-1]})
                progress.step()
        mean = {"image": f"mean of {len(images)}", **statistics.mean_row(figures)}
        spread = statistics.deviations(figures)
        return {
            **self.provenance,
            "frames": len(images),
            "rows": [mean],
            "spread": spread,
            "images": images,
        }

    def _score(self, index: int) -> dict[str, float | None]:
        return score(self.engine, self.pairs[index])

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        return tables.table(result["images"] + result["rows"])

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: means, all images, and those of lowest and highest PSNR."""
        (mean,), images = result["rows"], result["images"]
        order = sorted(range(len(images)), key=lambda index: images[index]["psnr_y_db"] or np.inf)
        shown = list(dict.fromkeys(order[: SHOWN // 2] + order[-SHOWN // 2 :]))
        strips = [
            Strip(f"{images[i]['image']} · {_db(images[i]['psnr_y_db'])} on Y", self.strip(self.pairs[i]))
            for i in shown
        ]
        columns = ("Rainy", "Derained", "Clean") if self.engine else ("Rainy", "Clean")
        return Report(
            title="Restoration",
            subtitle=evaluation.model_on(result, f"{len(images)} pairs of {result['data']['name']}"),
            verdict=f"PSNR on Y {_db(mean['psnr_y_db'])}, SSIM on Y {mean['ssim_y']:.4f}.",
            tiles=[
                Tile("PSNR on Y", _db(mean["psnr_y_db"]), f"SSIM {mean['ssim_y']:.4f}"),
                Tile("PSNR on RGB", _db(mean["psnr_db"]), f"SSIM {mean['ssim']:.4f}"),
                Tile("FSIM", f"{mean['fsim']:.4f}"),
            ],
            sections=[
                Strips("Lowest and highest PSNR", "", columns, strips),
                Table("Every image", "", *tables.cells(images + result["rows"])),
            ],
        )

    def strip(self, pair: Pair) -> list[np.ndarray]:
        """Rainy, derained and clean image of a pair; no derained one without an engine."""
        if self.engine is None:
            return [pair.rain, pair.clean]
        return [pair.rain, evaluation.restore(self.engine, pair.rain, pair.path).image, pair.clean]

    def write_strips(self, folder: Path) -> None:
        """Write the strip of every pair as a JPEG."""
        folder.mkdir(parents=True, exist_ok=True)
        with Progress("strips", len(self.pairs)) as progress:
            for pair in self.pairs:
                write_image(folder / f"{pair.name}.jpg", side_by_side(self.strip(pair)))
                progress.step()


def score(engine: Engine | None, pair: Pair) -> dict[str, float | None]:
    """The figures of one pair: dB, SSIM and FSIM of the derained image; None is an infinite PSNR.

    Without an engine, those of the rainy image itself. ``gain_y_db`` and ``gain_db`` are the PSNR
    minus that of the rainy image.
    """
    rainy, clean = pair.rain, pair.clean
    image = rainy if engine is None else evaluation.restore(engine, rainy, pair.path).image
    figures = {
        "psnr_y_db": psnr_y(image, clean),
        "ssim_y": ssim_y(image, clean),
        "psnr_db": psnr(image, clean),
        "ssim": ssim(image, clean),
        "fsim": fsim(image, clean),
    }
    if engine is not None:
        figures["gain_y_db"] = figures["psnr_y_db"] - psnr_y(rainy, clean)
        figures["gain_db"] = figures["psnr_db"] - psnr(rainy, clean)
    return {key: statistics.finite(value) for key, value in figures.items()}


def _db(value: float | None) -> str:
    return "inf" if value is None else f"{value:.2f} dB"
