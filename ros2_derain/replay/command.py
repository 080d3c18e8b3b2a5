"""``ros2-derain replay``: what comes out of a bag, what its rain cost, whether that is good enough."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from ros2_derain import engine_options, options
from ros2_derain.nodes.parameters import PlannerParameters, checked
from ros2_derain.nodes.run import PLANNER, check_params_file, given_parameters
from ros2_derain.options import positive
from ros2_derain.rain import GLASS_PRESETS, MAX_COVERAGE
from ros2_derain.replay import ReplayError, criteria, fleet, report
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.live import LiveSettings, replay_live
from ros2_derain.replay.output_folder import BAG, FRAMES, RECORDED, REPORT, SUMMARY
from ros2_derain.replay.session import replay
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import write

EXAMPLES = f"""examples:
  ros2-derain replay last_night/ --out out/night
  ros2-derain replay drive.mcap --out out/drive --topic /front/image_raw --topic /rear/image_raw/compressed
  ros2-derain replay dry_drive/ --out out/what_if --inject-rain 50,150,250
  ros2-derain replay dry_drive/ --out out/glass --inject-glass 0.05,0.2,heavy_windscreen
  ros2-derain replay dry_drive/ --out out/gate --inject-rain 150 --criteria criteria.yaml
  ros2-derain replay last_night/ --out out/live --live --rate 0.5 --topic /front/image_raw
  ros2-derain replay rainy_drive/ --out out/compared --references dry_images/
  ros2-derain replay --bags drives/ --out out/fleet --record none --jobs 4
  ros2-derain replay --bags drives/ --out out/fleet --engine ray --address auto

Without --topic every camera of the bag is replayed. DIR then holds
  {BAG}/         an mcap bag of every output topic, under the stamps and frame_ids of the input: for
                  'ros2 bag play' and Foxglove; /front/image_raw comes out as /front/derain/image and so on
  {FRAMES}    a line of JSON for each frame, the same from run to run
  timings.jsonl   how long each frame took
  {SUMMARY}    the figures, and the verdict over the criteria
  {REPORT}     the same as a page for the browser

--inject-rain renders rain onto a dry drive and compares labels and boxes with the dry run's own: what the
rain costs, and what deraining gives back. No labels are needed. --inject-glass does the same with water on
the glass; its figures are called glass_5, glass_20, glass_heavy_windscreen.

--truth compares the labels with true ones: mono8 images of a topic, under the images' stamps, or a folder of
PNGs that are named by the stamps in ns, or are one for each frame, in their order. --truth-boxes compares
the boxes with true ones: a vision_msgs/Detection2DArray topic, or a folder with boxes.csv and images.csv as
for 'evaluate perception', whose images are named in the same way. --references compares the images before and
after with those that should come out (PSNR, SSIM): an image topic, or a folder of images, named in the same
way.

A criteria file has a line for each requirement, 'NAME: FIGURE < NUMBER', where FIGURE is a figure of
summary.json, such as 'p95 latency: latency_ms.total.p95 < 100'; see config/criteria.yaml.

--live plays one camera over DDS with /clock into a pipeline that it starts, at the bag's pace times --rate,
and counts every frame that was dropped, by cause. {BAG}/ is then what was recorded, with /diagnostics.

--bags replays every bag below a folder, each into a folder of its name below --out, and reports on all of
them; a bag that is finished, and whose files have not changed, is not replayed again. --jobs N replays N of
them at once, each in a process of its own; --engine ray spreads them over a Ray cluster, on this machine
without --address; a cluster must see both folders. A worker that is lost has its bag tried again.

Where a camera has a camera_info, the bag also gets segmentation/points and detections_3d (docs/planners.md).
Poses are those of /tf_static, else of --params-file; a PointCloud2 topic is painted, and it or a
Detection3DArray topic of true boxes tells the errors of distances.

An image that cannot be read is counted with its cause and the run goes on. Exit status: 0; 1 when a criterion
is not met, a bag breaks off or fails, truth can be used on no frame, or the disk is full; 2 when the run
cannot begin."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Replay a rosbag2 bag through the engine; write a bag of the outputs and a report."
    parser.epilog = EXAMPLES
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("bag", type=Path, metavar="BAG", nargs="?", help="folder, .mcap or .db3")
    which.add_argument("--bags", type=Path, metavar="FOLDER", help="every bag below this folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--topic", action="append", default=[], help="an image topic (default: every camera); may be repeated"
    )
    parser.add_argument("--frames", type=positive(int), help="only the first N of each camera")
    parser.add_argument(
        "--inject-rain", type=rates, default=(), metavar="RATE,...", help="mm/h of rain on a dry drive"
    )
    parser.add_argument(
        "--inject-glass",
        type=glasses,
        default=(),
        metavar="COVERAGE|PRESET,...",
        help="wet glass on a dry drive: share of the image that drops hide, or a preset of 'rain'",
    )
    parser.add_argument("--seed", type=options.one_seed, default=0, help="of that rain (default: 0)")
    parser.add_argument(
        "--truth", default="", metavar="TOPIC|FOLDER", help="true label maps of the one camera"
    )
    parser.add_argument(
        "--truth-boxes", default="", metavar="TOPIC|FOLDER", help="true boxes of the one camera"
    )
    parser.add_argument(
        "--references", default="", metavar="TOPIC|FOLDER", help="images of the one camera as they should be"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the label ids (default: the model's)"
    )
    parser.add_argument(
        "--params-file",
        type=Path,
        metavar="FILE",
        help="parameters of planner_node, such as camera_height (default: its own)",
    )
    parser.add_argument("--live", action="store_true", help="over DDS, into a running pipeline")
    parser.add_argument(
        "--rate",
        type=positive(float),
        default=1.0,
        help="with --live: the bag's pace times this (default: 1)",
    )
    parser.add_argument("--criteria", type=Path, metavar="FILE", help="YAML: what the run must reach")
    parser.add_argument(
        "--record", choices=list(RECORDED), default="all", help="topics of the new bag (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier replay's results")
    engine_options.add_engine(parser)
    many = parser.add_argument_group("with --bags")
    many.add_argument(
        "--engine", choices=fleet.ENGINES, default="local", help="processes of this machine, or a Ray cluster"
    )
    many.add_argument("--jobs", type=positive(int), default=1, help="of local: bags at once (default: 1)")
    many.add_argument("--address", help="of a running Ray cluster (default: one on this machine)")
    many.add_argument(
        "--workers", type=positive(int), help="of Ray on this machine: bags at once (default: its CPUs)"
    )
    many.add_argument(
        "--per-gpu", type=positive(int), default=1, help="of Ray: bags at once on one GPU (default: 1)"
    )
    parser.add_argument(
        "--prior", type=engine_options.one_prior, default="temporal", help="(default: %(default)s)"
    )
    engine_options.add_iterations(parser)


def main(args: argparse.Namespace) -> int:
    """Replay, and print the result; returns the exit status."""
    required = criteria.read(args.criteria) if args.criteria else []
    if args.live and (args.bags or args.inject_rain or args.inject_glass or args.record != "all"):
        raise ReplayError(
            "--live plays one bag unchanged: leave out --bags, --inject-rain, --inject-glass and --record"
        )
    if args.bags:
        return _replay_fleet(args, required)
    if args.live:
        live = LiveSettings(args.rate)
        summary = replay_live(job(args, args.bag), args.out, live, required, force=args.force)
    else:
        summary = replay(job(args, args.bag), args.out, required, force=args.force)
    print_result(summary, args.out, args.record != "none")
    return 1 if summary["passed"] is False else 0


def print_result(summary: Mapping, out: Path, recorded: bool = True) -> None:
    """Print the result of a replay, and where its files are."""
    files = [f"{name.partition('.')[0]}: {out / name}" for name in (REPORT, SUMMARY, FRAMES)]
    print(report.text(summary, [*files, f"bag: {out / BAG}"] if recorded else files))


def _replay_fleet(args: argparse.Namespace, required: Sequence[Criterion]) -> int:
    """Replay every bag of a folder, and print the result; returns the exit status."""
    bags = fleet.find_bags(args.bags)
    args.out.mkdir(parents=True, exist_ok=True)
    cluster = fleet.Cluster(args.engine, args.jobs, args.address, args.workers, args.per_gpu)
    failed = fleet.replay_all(bags, job(args, args.bags), args.out, required, cluster)
    merged = fleet.merge(bags, failed, args.out, required)
    page = fleet.build_report(merged, args.bags.resolve().name)
    write_json(args.out / SUMMARY, merged)
    write(page, args.out / REPORT)
    for problem in page.problems:
        print(f"PROBLEM: {problem}")
    print(f"{page.verdict}\nreport: {args.out / REPORT}\nsummary: {args.out / SUMMARY}")
    return 1 if page.passed is False else 0


def job(args: argparse.Namespace, bag: Path) -> Job:
    """What is to be done with a bag, by the options."""
    return Job(
        bag,
        engine_options.settings(args, prior=args.prior, iterations=args.iterations),
        topics=tuple(args.topic),
        rates=args.inject_rain,
        glasses=args.inject_glass,
        seed=args.seed,
        record=args.record,
        frames=args.frames,
        truth=args.truth,
        truth_boxes=args.truth_boxes,
        references=args.references,
        classes=args.classes,
        planner=planner_parameters(args.params_file) if args.params_file else {},
    )


def glasses(text: str) -> tuple[str, ...]:
    """``0.05,heavy_windscreen`` -> coverages and presets of the glass."""
    found = tuple(text.split(","))
    for name in found:
        if name in GLASS_PRESETS:
            continue
        try:
            coverage = float(name)
        except ValueError:
            raise ReplayError(
                f"--inject-glass {name}: name a coverage such as 0.05, or one of {', '.join(GLASS_PRESETS)}"
            ) from None
        if not 0 < coverage <= MAX_COVERAGE:
            raise ReplayError(
                f"--inject-glass {name}: the coverage must be above 0 and at most {MAX_COVERAGE:g}"
            )
    if len(set(found)) < len(found):
        raise ReplayError(f"--inject-glass {text}: name each glass once")
    return found


def planner_parameters(path: Path) -> dict[str, Any]:
    """The parameters of planner_node in a parameter file.

    Raises:
        RunError: it is no such file.
        ReplayError: it has none, or one that planner_node lacks.
    """
    check_params_file(path)
    found = given_parameters(yaml.safe_load(path.read_text(encoding="utf-8")), PLANNER)
    known = {item.name: item.default for item in fields(PlannerParameters)}
    if not found or (unknown := found.keys() - known.keys()):
        named = f"{', '.join(sorted(unknown))}, which planner_node lacks" if found else "none of planner_node"
        raise ReplayError(f"--params-file {path} has {named}: write them below /**/planner_node")
    return dict(asdict(checked(PlannerParameters, known | found)))


def rates(text: str) -> tuple[float, ...]:
    """``150,50`` -> rain rates in mm/h above 0, the lightest first."""
    found = options.rates(text, "--inject-rain")
    if 0 in found:
        raise ReplayError("--inject-rain: 0 mm/h is the dry run, which is always done; leave it out")
    return tuple(sorted(found))
