"""``ros2-derain evaluate tracking``: do objects keep their ids in rain?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ros2_derain import engine_options, options
from ros2_derain.data.boxes import find_boxes
from ros2_derain.data.images import left_out_note, list_images, read_image, usable
from ros2_derain.engine import Engine
from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.labelled_clip import boxes_in_pixels, boxes_of
from ros2_derain.evaluate.scores import to_boxes
from ros2_derain.metrics import Boxes, TrackScore
from ros2_derain.planner import Tracker
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.reporting import tables
from ros2_derain.reporting.page import Report, Table, Tile
from ros2_derain.reporting.progress import Progress

EPILOG = """examples:
  ros2-derain evaluate tracking --images DATA/camvid/val/images --boxes DATA/boxes/camvid_from_masks
  ros2-derain evaluate tracking --images samples/highway --boxes samples/highway --fps 25

The clip is played with rain of each rate through the loop. switches: how often an object gets another id;
fragmentations: how often it is found again after a miss; both also for 100 boxes that are found. tracks: all
ids of the clip, also of boxes that match nothing.
True boxes (--boxes) have ids where boxes.csv has a column track, or COCO's annotations a track_id; others
are linked by the tracker itself. Without true boxes those of the dry clip, with their ids, are what the rainy
ones are compared with; 0 mm/h compares the dry run with itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Ids of tracked objects on a clip, dry and in rendered rain."
    parser.epilog = EPILOG
    parser.add_argument("--images", type=Path, required=True, help="folder of consecutive images")
    parser.add_argument(
        "--boxes", type=Path, metavar="PATH", help="true boxes: a folder of boxes.csv, VOC, or a COCO file"
    )
    parser.add_argument(
        "--rates", type=options.rates, default=(0.0, 50.0, 150.0), help="mm/h (default: 0,50,150)"
    )
    parser.add_argument("--seed", type=options.one_seed, default=1, help="of the rain (default: 1)")
    parser.add_argument("--fps", type=options.frequency, default=15.0, help="of the clip (default: 15)")
    parser.add_argument("--frames", type=options.positive(int), help="only the first N images")
    engine_options.add_engine(parser)
    options.add_results(parser)


def main(args: argparse.Namespace) -> int:
    """Measure every rate; returns the exit status."""
    evaluation.run(Tracking.open(args), args.json, options.report_path(args), args.card and args.model)
    return 0


Tracked = tuple[Boxes, list[str]]
"""The boxes of a frame and their ids."""


@dataclass(frozen=True)
class Tracking(Evaluation):
    """The ids of a model's detections on a clip in rendered rain.

    Attributes:
        engine: of the model.
        paths: images of the clip.
        fps: frames per second of the clip.
        rates: of the rain in mm/h.
        seed: of the rain.
        truth: true boxes of each image and their ids; None: those of the dry clip.
    """

    engine: Engine
    paths: Sequence[Path]
    fps: float
    rates: Sequence[float]
    seed: int
    truth: Sequence[Tracked] | None

    @classmethod
    def open(cls, args: argparse.Namespace) -> Tracking:
        """Model and data of the options of :func:`add_arguments`.

        Raises:
            DataError: an image has no true boxes.
        """
        paths, left_out = usable(list_images(args.images)[: args.frames], read_image)
        engine = Engine.load(engine_options.settings(args))
        truth, ids = None, "of the dry clip"
        if args.boxes:
            truth, ids = _truth(args.boxes, paths, engine.identity.object_names, 1 / args.fps)
        settings = {"rates": list(args.rates), "seed": args.seed, "fps": args.fps, "true_ids": ids}
        data = evaluation.describe_data(args.images, paths)
        head = evaluation.describe_run("tracking", data, settings, engine.identity)
        note = left_out_note(left_out, len(left_out) + len(paths))
        return cls(head, note, engine, paths, args.fps, args.rates, args.seed, truth)

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: a row per rate."""
        passes = len(self.rates) + (self.truth is None)
        with Progress("frames", passes * len(self.paths)) as progress:
            truth = self.truth or list(self._tracked(0.0, progress.step))
            rows = [
                cache.get(f"{rate:g} mm/h", partial(self._row, rate, truth, progress.step))
                for rate in self.rates
            ]
        return {**self.provenance, "frames": len(self.paths), "rows": rows}

    def _row(self, rate: float, truth: Sequence[Tracked], step: Callable[[], None]) -> dict:
        score, boxes, ids = TrackScore(), 0, set[str]()
        for true, found in zip(truth, self._tracked(rate, step), strict=True):
            score.add(*true, *found)
            boxes += len(found[1])
            ids |= {*found[1]}
        found_boxes = max(1, score.matches)
        return {
            "rate_mm_h": rate,
            "true_boxes": score.truths,
            "found": score.matches / max(1, score.truths),
            "switches": score.switches,
            "switches_per_100": 100 * score.switches / found_boxes,
            "fragmentations": score.fragmentations,
            "fragmentations_per_100": 100 * score.fragmentations / found_boxes,
            "mota": score.accuracy,
            "tracks": len(ids),
            "boxes_per_track": boxes / max(1, len(ids)),
        }

    def _tracked(self, rate: float, step: Callable[[], None]) -> Iterator[Tracked]:
        """The detections of every frame with rain of a rate."""
        self.engine.reset()
        rain, objects = RainOverlay.of_rate(rate, self.seed), self.engine.identity.object_names
        for index, path in enumerate(self.paths):
            rainy = rain.render(read_image(path), index / self.fps)
            _, seen = evaluation.process(self.engine, rainy, path, index / self.fps)
            step()
            yield to_boxes(seen.detections, objects, scored=True), [found.id for found in seen.detections]

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        return tables.table(result["rows"])

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: the table."""
        rows = result["rows"]
        verdict = ", ".join(f"{row['switches']} at {row['rate_mm_h']:g} mm/h" for row in rows)
        return Report(
            title="Tracks in rain",
            subtitle=evaluation.model_on(
                result,
                f"{result['frames']} frames of {result['data']['name']}, rain rendered; true ids: "
                f"{result['settings']['true_ids']}",
            ),
            verdict=f"Switches of ids: {verdict}.",
            tiles=[Tile(f"{row['rate_mm_h']:g} mm/h", str(row["switches"]), "switches") for row in rows],
            sections=[Table("Every rate", "", *tables.cells(rows))],
        )


def _truth(
    source: Path, paths: Sequence[Path], objects: Sequence[str], seconds: float
) -> tuple[list[Tracked], str]:
    """The true boxes of each image with their ids, and where these come from."""
    listed = find_boxes(boxes_in_pixels(source), paths, source)
    frames, ids = [boxes_of(each, objects) for each in listed], [each.tracks_of(objects) for each in listed]
    if all(track for tracks in ids for track in tracks):
        return list(zip(frames, ids, strict=True)), "given"
    return list(_linked(frames, seconds)), "by the tracker"


def _linked(frames: Sequence[Boxes], seconds: float) -> Iterator[Tracked]:
    """Ids for true boxes that have none: by the tracker."""
    tracker = Tracker()
    for boxes in frames:
        ids = tracker.update(boxes.corners, np.ones(len(boxes)), [str(c) for c in boxes.classes], seconds)
        yield boxes, ids
