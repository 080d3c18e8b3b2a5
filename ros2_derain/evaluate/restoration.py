"""``ros2-derain evaluate restoration``: pairs of rainy and clean pictures, each by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, models, options, provenance
from ros2_derain.data.images import (
    check_same_size,
    chosen,
    list_images,
    partners,
    read_image,
    side_by_side,
    write_image,
)
from ros2_derain.engine import Engine, ModelIdentity
from ros2_derain.errors import EvaluationError
from ros2_derain.evaluate import running
from ros2_derain.evaluate.result_cache import Journal
from ros2_derain.metrics.fsim import fsim
from ros2_derain.metrics.image import psnr, psnr_y, ssim, ssim_y
from ros2_derain.options import positive
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile, write
from ros2_derain.reporting.progress import Progress

SHOWN = 6
"""Pairs in the report: those that gained least and most."""

EPILOG = """examples:
  ros2-derain evaluate restoration --pairs DATA/rain_pairs/rain100l_dev --json out/rain100l.json
  ros2-derain evaluate restoration --pairs DATA/rain_pairs/rain100l_dev --input

DIR/rain and DIR/clean hold files of equal stems. Y is the luma of MATLAB's rgb2ycbcr. The rain gate
is off and nothing is carried from one picture to the next, so the priors closed_loop and none are
all there is to choose from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "PSNR and SSIM on Y and RGB and FSIM of derained pictures against clean ones."
    parser.epilog = EPILOG
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="holds rain/ and clean/")
    parser.add_argument("--input", action="store_true", help="score the untouched input; no model is used")
    parser.add_argument(
        "--names", type=Path, metavar="FILE", help="only the pictures it names, a stem a line"
    )
    parser.add_argument("--except-names", type=Path, metavar="FILE", help="all pictures but these")
    parser.add_argument("--limit", type=positive(int), metavar="N", help="only the first N of them")
    parser.add_argument(
        "--prior", default="closed_loop", choices=("closed_loop", "none"), help="(default: %(default)s)"
    )
    engine_options.add_iterations(parser)
    parser.add_argument("--gate", action="store_true", help="leave pictures alone in which no rain is seen")
    parser.add_argument("--strips", type=Path, metavar="DIR", help="write rainy | derained | clean here")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Score every pair, print a table, write what was asked for; returns the exit status."""
    if args.input and args.card:
        raise EvaluationError("--input scores no model, so there is no card to note it on: leave out --card")
    run = Run.open(args)
    journal = Journal(args.json, provenance.comparable(run.head))
    result = run.measured(journal)
    print(tables.table(result["pictures"] + result["rows"]))
    if args.json:
        write_json(args.json, result)
    if args.strips:
        _write_strips(run.engine, run.pairs, args.strips)
    if report := options.report_path(args):
        write(page(result, run.engine, run.pairs), report)
    if args.card:
        provenance.note_on_card(models.find(args.model), result)
    journal.close()
    return 0


@dataclass(frozen=True)
class Run:
    """A model on pairs of pictures.

    Attributes:
        engine: restores; None: the untouched input is scored.
        pairs: rainy and clean files.
        head: what the figures are taken of, with and on.
    """

    engine: Engine | None
    pairs: Sequence[tuple[Path, Path]]
    head: dict

    @classmethod
    def open(cls, args: argparse.Namespace) -> Run:
        """What the options of :func:`add_arguments` ask for; raises as :func:`open_pairs`."""
        pairs = open_pairs(args.pairs, args.names, args.except_names)[: args.limit]
        engine, used = None, {"input": True}
        if not args.input:
            used = {"prior": args.prior, "iterations": args.iterations, "gate": args.gate}
            engine = Engine.load(engine_options.settings(args, **used))
        data = provenance.describe_data(args.pairs, (path for pair in pairs for path in pair))
        return cls(
            engine,
            pairs,
            provenance.describe("restoration", data, used, engine.identity if engine else None),
        )

    def measured(self, journal: Journal) -> dict:
        """The whole result, JSON-ready: the figures of every pair, their mean and spread."""
        found = []
        with Progress("pairs", len(self.pairs)) as progress:
            for pair in self.pairs:
                scored = journal.get(pair[0].stem, lambda pair=pair: score(self.engine, *pair))
                found.append({"picture": pair[0].stem, **scored})
                progress.step()
        told = {"frames": len(found), "rows": rows(found), "spread": spread(found), "pictures": found}
        return {**self.head, **told}


def open_pairs(folder: Path, names: Path | None, except_names: Path | None) -> list[tuple[Path, Path]]:
    """Rainy and clean files of equal stems, in order of name.

    Raises:
        EvaluationError: a folder is missing or empty, or files have no partner.
    """
    rainy, clean = folder / "rain", folder / "clean"
    if not rainy.is_dir() or not clean.is_dir():
        raise EvaluationError(f"{folder} must hold the folders rain and clean")
    found = chosen(list_images(rainy), names, except_names)
    return list(zip(found, partners(found, clean), strict=True))


def score(engine: Engine | None, rainy_path: Path, clean_path: Path) -> dict[str, float | None]:
    """The figures of one pair: dB, SSIM and FSIM of the derained picture; None is an infinite PSNR.

    Without an engine, those of the rainy picture itself. ``gain_y_db`` and ``gain_db`` are
    the PSNR over the rainy picture's.
    """
    rainy, clean = _read(rainy_path, clean_path)
    image = _derained(engine, rainy, rainy_path)
    found = {
        "psnr_y_db": psnr_y(image, clean),
        "ssim_y": ssim_y(image, clean),
        "psnr_db": psnr(image, clean),
        "ssim": ssim(image, clean),
        "fsim": fsim(image, clean),
    }
    if engine is not None:
        found["gain_y_db"] = found["psnr_y_db"] - psnr_y(rainy, clean)
        found["gain_db"] = found["psnr_db"] - psnr(rainy, clean)
    return {key: statistics.finite(value) for key, value in found.items()}


def rows(found: Sequence[dict]) -> list[dict]:
    """The mean over all pictures, as the row of a table."""
    return [{"picture": f"mean of {len(found)}", **statistics.mean_row(_figures(found))}]


def spread(found: Sequence[dict]) -> dict[str, float]:
    """The standard deviation over the pictures."""
    return statistics.deviations(_figures(found))


def page(result: dict, engine: Engine | None, pairs: Sequence[tuple[Path, Path]]) -> Report:
    """The report: means, all pictures, and those that gained least and most."""
    (mean,) = result["rows"]
    name = result["data"]["name"]
    order = sorted(range(len(pairs)), key=lambda index: result["pictures"][index]["psnr_y_db"] or np.inf)
    shown = list(dict.fromkeys(order[: SHOWN // 2] + order[-SHOWN // 2 :]))
    headings, cells = tables.cells(result["pictures"] + result["rows"])
    scored = _who(engine.identity if engine else None)
    return Report(
        title="Restoration",
        subtitle=f"{scored} on {len(pairs)} pairs of {name}. {result['date']}, commit {result['commit']}",
        passed=None,
        verdict=f"PSNR on Y {_db(mean['psnr_y_db'])}, SSIM on Y {mean['ssim_y']:.4f}.",
        problems=(),
        tiles=[
            Tile("PSNR on Y", _db(mean["psnr_y_db"]), f"SSIM {mean['ssim_y']:.4f}"),
            Tile("PSNR on RGB", _db(mean["psnr_db"]), f"SSIM {mean['ssim']:.4f}"),
            Tile("FSIM", f"{mean['fsim']:.4f}"),
        ],
        sections=[
            Strips(
                "Lowest and highest PSNR",
                "",
                ("Rainy", "Derained", "Clean") if engine else ("Rainy", "Clean"),
                [_strip(engine, pairs[index], result["pictures"][index]) for index in shown],
            ),
            Table("Every picture", "", headings, cells),
        ],
    )


def _figures(found: Sequence[dict]) -> list[dict]:
    return [{key: value for key, value in each.items() if key != "picture"} for each in found]


def _read(rainy_path: Path, clean_path: Path) -> tuple[np.ndarray, np.ndarray]:
    rainy, clean = read_image(rainy_path), read_image(clean_path)
    check_same_size(rainy, clean, rainy_path, clean_path)
    return rainy, clean


def _derained(engine: Engine | None, rainy: np.ndarray, path: Path) -> np.ndarray:
    return rainy if engine is None else running.restore(engine, rainy, path).image


def columns(engine: Engine | None, pair: tuple[Path, Path]) -> list[np.ndarray]:
    """Rainy, derained and clean picture of a pair; no derained one without an engine."""
    rainy, clean = _read(*pair)
    return [rainy, clean] if engine is None else [rainy, _derained(engine, rainy, pair[0]), clean]


def _strip(engine: Engine | None, pair: tuple[Path, Path], found: dict) -> Strip:
    caption = f"{pair[0].stem} · {_db(found['psnr_y_db'])} on Y"
    return Strip(caption, columns(engine, pair))


def _write_strips(engine: Engine | None, pairs: Sequence[tuple[Path, Path]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Progress("strips", len(pairs)) as progress:
        for pair in pairs:
            write_image(folder / f"{pair[0].stem}.jpg", side_by_side(columns(engine, pair)))
            progress.step()


def _who(identity: ModelIdentity | None) -> str:
    if identity is None:
        return "The untouched input"
    return f"{identity.name} ({identity.device} {identity.precision})"


def _db(value: float | None) -> str:
    return "inf" if value is None else f"{value:.2f} dB"
