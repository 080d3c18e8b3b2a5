"""``ros2-derain replay``: what comes out of a bag, what its rain cost, whether that is good enough."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ros2_derain import engine_options, options
from ros2_derain.errors import EvaluationError
from ros2_derain.options import positive
from ros2_derain.replay import criteria, fleet, fleet_report
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.live import replay_live
from ros2_derain.replay.offline import replay
from ros2_derain.replay.output_folder import BAG, FRAMES, KEPT, REPORT, SUMMARY
from ros2_derain.replay.text_summary import told
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import write

EXAMPLES = f"""examples:
  ros2-derain replay last_night/ --out out/night
  ros2-derain replay drive.mcap --out out/drive --topic /front/image_raw --topic /rear/image_raw/compressed
  ros2-derain replay dry_drive/ --out out/what_if --inject-rain 50,150,250
  ros2-derain replay dry_drive/ --out out/gate --inject-rain 150 --criteria criteria.yaml
  ros2-derain replay last_night/ --out out/live --live --rate 0.5 --topic /front/image_raw
  ros2-derain replay --bags drives/ --out out/fleet --record none
  ros2-derain replay --bags drives/ --out out/fleet --engine ray --address auto

Without --topic every camera of the bag is replayed. DIR then holds
  {BAG}/         an mcap bag of every output topic, under the stamps and frame_ids of the input: for
                  'ros2 bag play' and Foxglove; /front/image_raw comes out as /front/derain/image and so on
  {FRAMES}    a line of JSON for each frame, the same from run to run
  timings.jsonl   how long each frame took
  {SUMMARY}    the figures, and the verdict over the criteria
  {REPORT}     the same to look at

--inject-rain renders rain onto a dry drive and holds labels and boxes against the dry run's own: what the
rain costs, and what deraining gives back. No labels are needed.

--truth holds the labels against true ones: mono8 images of a topic, under the images' stamps, or a folder of
PNGs that are named by the stamps in ns, or are one for each frame, in their order. --truth-boxes holds the
boxes against true ones: a vision_msgs/Detection2DArray topic, or a folder with boxes.csv and images.csv as
for 'evaluate perception', whose images are named in the same way.

A criteria file has a line for each demand, 'NAME: FIGURE < NUMBER', where FIGURE is a figure of summary.json,
such as 'p95 latency: latency_ms.total.p95 < 100'; see config/criteria.yaml.

--live plays one camera over DDS with /clock into a pipeline that it starts, at the bag's pace times --rate,
and counts every frame that was dropped, by cause. {BAG}/ is then what was recorded, with /diagnostics.

--bags replays every bag below a folder, each into a folder of its name below --out, and reports on all of
them; bags that are finished are not done again. --engine ray spreads them over a Ray cluster, on this machine
without --address; a cluster must see both folders. A worker that is lost has its bag tried again.

An image that cannot be read is counted with its cause and the run goes on. Exit status: 0; 1 when a criterion
is not met, a bag breaks off or fails, or the disk is full; 2 when the run cannot begin."""


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
    parser.add_argument("--seed", type=options.one_seed, default=0, help="of that rain (default: 0)")
    parser.add_argument(
        "--truth", default="", metavar="TOPIC|FOLDER", help="true label maps of the one camera"
    )
    parser.add_argument(
        "--truth-boxes", default="", metavar="TOPIC|FOLDER", help="true boxes of the one camera"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of the label ids (default: the model's)"
    )
    parser.add_argument("--live", action="store_true", help="over DDS, into a running pipeline")
    parser.add_argument(
        "--rate",
        type=positive(float),
        default=1.0,
        help="with --live: the bag's pace times this (default: 1)",
    )
    parser.add_argument("--criteria", type=Path, metavar="FILE", help="YAML: what the run is held against")
    parser.add_argument(
        "--record", choices=list(KEPT), default="all", help="topics of the new bag (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier replay's results")
    engine_options.add_engine(parser)
    many = parser.add_argument_group("with --bags")
    many.add_argument(
        "--engine", choices=fleet.ENGINES, default="serial", help="one after another, or a Ray cluster"
    )
    many.add_argument("--address", help="of a running Ray cluster (default: one on this machine)")
    many.add_argument(
        "--workers", type=positive(int), help="bags at once on this machine (default: its CPUs)"
    )
    many.add_argument("--per-gpu", type=positive(int), default=1, help="bags at once on one GPU (default: 1)")
    parser.add_argument(
        "--prior", type=engine_options.one_prior, default="temporal", help="(default: %(default)s)"
    )
    engine_options.add_iterations(parser)


def main(args: argparse.Namespace) -> int:
    """Replay, and say how it went; returns the exit status."""
    demands = criteria.read(args.criteria) if args.criteria else []
    if args.live and (args.bags or args.inject_rain or args.record != "all"):
        raise EvaluationError("--live plays one bag as it is: leave out --bags, --inject-rain and --record")
    if args.bags:
        return _fleet(args, demands)
    if args.live:
        summary = replay_live(job(args, args.bag), args.out, args.rate, demands, force=args.force)
    else:
        summary = replay(job(args, args.bag), args.out, demands, force=args.force)
    files = [f"{name.partition('.')[0]}: {args.out / name}" for name in (REPORT, SUMMARY, FRAMES)]
    print(told(summary, [*files, f"bag: {args.out / BAG}"] if args.record != "none" else files))
    return 1 if summary["passed"] is False else 0


def _fleet(args: argparse.Namespace, demands: Sequence[Criterion]) -> int:
    """Replay every bag of a folder, and say how it went; returns the exit status."""
    bags = fleet.find_bags(args.bags)
    args.out.mkdir(parents=True, exist_ok=True)
    cluster = fleet.Cluster(args.engine, args.address, args.workers, args.per_gpu)
    failed = fleet.replay_all(bags, job(args, args.bags), args.out, demands, cluster)
    merged = fleet.merge(bags, failed, args.out, demands)
    page = fleet_report.build(merged, args.bags.resolve().name)
    write_json(args.out / SUMMARY, merged)
    write(page, args.out / REPORT)
    for problem in page.problems:
        print(f"PROBLEM: {problem}")
    print(f"{page.verdict}\nreport: {args.out / REPORT}\nsummary: {args.out / SUMMARY}")
    return 1 if page.passed is False else 0


def job(args: argparse.Namespace, bag: Path) -> Job:
    """What the options ask to be done with a bag."""
    settings = engine_options.settings(args, prior=args.prior, iterations=args.iterations)
    return Job(
        bag,
        settings,
        tuple(args.topic),
        args.inject_rain,
        args.seed,
        args.record,
        args.frames,
        args.truth,
        args.truth_boxes,
        args.classes,
    )


def rates(text: str) -> tuple[float, ...]:
    """``150,50`` -> rain rates in mm/h above 0, the lightest first."""
    found = options.rates(text, "--inject-rain")
    if 0 in found:
        raise EvaluationError("--inject-rain: 0 mm/h is the dry run, which is always done; leave it out")
    return tuple(sorted(found))
