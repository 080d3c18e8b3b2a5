"""``ros2-derain evaluate real``: real rain, of which nobody knows the clean picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ros2_derain import engine_options, options, provenance
from ros2_derain.data.images import (
    check_unique_stems,
    list_images,
    read_image,
    side_by_side,
    split_side_by_side,
    write_image,
)
from ros2_derain.engine import Engine, Scene
from ros2_derain.evaluate import running
from ros2_derain.evaluate.result_cache import Journal
from ros2_derain.metrics import MetricError
from ros2_derain.metrics.niqe import niqe
from ros2_derain.nodes import overlay
from ros2_derain.options import positive
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile, write
from ros2_derain.reporting.progress import Progress

SHOWN = 12
"""Strips in the report; all are written as pictures."""
OPACITY = 0.45
COLUMNS = ("Before", "After", "Classes and detections")

EPILOG = """examples:
  ros2-derain evaluate real --images DATA/real_rain --out out/real_rain
  ros2-derain evaluate real --images DATA/sequences/ntu_real_ra1 --sequence --fps 25 --out out/ntu

DIR gets real.json, report.html and strips/ with a JPEG of before | after | classes and detections
for each picture. NIQE is better when it is lower; the project's own fit does not compare with
published values. The rain rate after is what the gauge reads off the clean picture by itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "NIQE and rain rate of real rainy pictures before and after, and strips to look at."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument(
        "--sequence", action="store_true", help="the pictures are a clip: remember the frame before"
    )
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of --sequence (default: 15)")
    parser.add_argument(
        "--prior",
        type=engine_options.one_prior,
        help="of the loop (default: closed_loop, with --sequence temporal)",
    )
    engine_options.add_iterations(parser)
    parser.add_argument("--gate", action="store_true", help="leave pictures alone in which no rain is seen")
    parser.add_argument("--frames", type=positive(int), help="only the first N pictures")
    engine_options.add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Process every picture, print a table, write everything below --out; returns the exit status."""
    paths = list_images(args.images)[: args.frames]
    check_unique_stems(paths)
    used = {
        "prior": args.prior or ("temporal" if args.sequence else "closed_loop"),
        "iterations": args.iterations,
        "gate": args.gate,
    }
    run = Run.load(
        engine_options.settings(args, **used), args.fps if args.sequence else None, args.out / "strips"
    )
    head = provenance.describe(
        "real",
        provenance.describe_data(args.images, paths),
        used | {"fps": run.fps},
        run.engine.identity,
    )
    target = args.out / "real.json"
    journal = Journal(target, provenance.comparable(head))
    found = []
    with Progress("pictures", len(paths)) as progress:
        for one in run.all(paths, journal):
            found.append(one)
            progress.step()
    measured = [{key: value for key, value in one.items() if key != "picture"} for one in found]
    mean = {"picture": f"mean of {len(found)}", **statistics.mean_row(measured)}
    result = {**head, "frames": len(found), "rows": [mean], "pictures": found}
    print(tables.table([*found, mean]))
    write_json(target, result)
    write(page(result, run.strips), args.out / "report.html")
    journal.close()
    print(f"\nreport: {args.out / 'report.html'}\nstrips: {run.strips}")
    return 0


@dataclass(frozen=True)
class Run:
    """The engine on pictures of real rain.

    Attributes:
        engine: restores and parses.
        gauge: reads the rain that is left.
        fps: frames per second of a clip; None: each picture stands alone.
        strips: folder for before | after | classes.
    """

    engine: Engine
    gauge: running.Gauge
    fps: float | None
    strips: Path

    @classmethod
    def load(cls, settings, fps: float | None, strips: Path) -> Run:
        """Load the model and make the folder."""
        engine = Engine.load(settings)
        strips.mkdir(parents=True, exist_ok=True)
        return cls(engine, running.Gauge(settings), fps, strips)

    def all(self, paths: Sequence[Path], journal: Journal) -> Iterator[dict]:
        """The figures of each picture; those of photos that an interrupted run has left are taken over.

        A clip is processed from its start: every frame needs the one before.
        """
        for index, path in enumerate(paths):
            if self.fps is None:
                yield journal.get(path.stem, lambda path=path: self.one(path, None))
            else:
                yield self.one(path, index / self.fps)

    def one(self, path: Path, time_s: float | None) -> dict:
        """NIQE and rain rate of one picture before and after; its strip is written."""
        before = read_image(path)
        restored = running.restore(self.engine, before, path, time_s)
        scene = running.interpret(self.engine, restored, path)
        strip = side_by_side((before, scene.image, self._drawn(scene)))
        write_image(self.strips / f"{path.stem}.jpg", strip)
        return {
            "picture": path.stem,
            "niqe": _niqe(before),
            "niqe_after": _niqe(scene.image),
            "read_mm_h": scene.rain.rate,
            "read_after_mm_h": self.gauge.read(scene.image).rate,
        }

    def _drawn(self, scene: Scene):
        return overlay.draw(scene.image, scene.perception, self.engine.identity.class_names, OPACITY)


def page(result: dict, strips: Path) -> Report:
    """The report: means, a table of all pictures, and some of the strips."""
    (mean,), found = result["rows"], result["pictures"]
    headings, cells = tables.cells([*found, mean])
    shown = sorted({round(k * (len(found) - 1) / (SHOWN - 1)) for k in range(SHOWN)})
    return Report(
        title="Real rain",
        subtitle=(
            f"{result['model']} ({result['device']} {result['precision']}) on {len(found)} pictures of "
            f"{result['data']['name']}. {result['date']}, commit {result['commit']}"
        ),
        passed=None,
        verdict="What the pictures show counts here; the figures only hint at it.",
        problems=(),
        tiles=[
            Tile(
                "Rain rate after",
                tables.number(mean["read_after_mm_h"]),
                f"mm/h, before {tables.number(mean['read_mm_h'])}",
            ),
            Tile(
                "NIQE after",
                tables.number(mean["niqe_after"]),
                f"before {tables.number(mean['niqe'])}; lower is better",
            ),
        ],
        sections=[
            Strips(
                "Before, after, and what is seen",
                f"{len(shown)} of {len(found)}; all of them are in {strips.name}/.",
                COLUMNS,
                [_strip(found[index], strips) for index in shown],
            ),
            Table("Every picture", "", headings, cells),
        ],
    )


def _strip(one: dict, strips: Path) -> Strip:
    picture = read_image(strips / f"{one['picture']}.jpg")
    caption = f"{one['picture']} · {one['read_mm_h']:.0f} → {one['read_after_mm_h']:.0f} mm/h"
    return Strip(caption, split_side_by_side(picture, len(COLUMNS)))


def _niqe(picture) -> float | None:
    """None for a picture that is too small or too flat for NIQE."""
    try:
        return statistics.finite(niqe(picture))
    except MetricError:
        return None
