"""``ros2-derain drill``: injects faults into a running pipeline, checks its reaction, times its recovery."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from ros2_derain import environment, machine
from ros2_derain.drill import CheckFailed, DrillError, camera_faults, load, pipeline_faults, planner_faults
from ros2_derain.drill.test_pipeline import Fault, Settings, TestPipeline, composed
from ros2_derain.engine import RUNTIMES
from ros2_derain.options import positive
from ros2_derain.reporting.files import write_json
from ros2_derain.ros_testing import RosTestingError

ALL_FAULTS = tuple(
    found
    for module in (camera_faults, pipeline_faults, planner_faults, load)
    for found in vars(module).values()
    if isinstance(found, Fault)
)
"""In the order of the source code."""
NAME_WIDTH = 2 + max(len(fault.name) for fault in ALL_FAULTS)

EXAMPLES = """examples:
  ros2-derain drill
  ros2-derain drill --only camera-stops,derainer-not-finite --json drill.json
  ros2-derain drill --long --markdown > drill.md
  ros2-derain drill --soak 30

Runs on a ROS domain of its own, on this machine only. Exit status: 0, or 1 when any
check failed."""


@dataclass(frozen=True)
class Row:
    """The result of one fault.

    Attributes:
        fault: its name.
        expected: what the pipeline should do.
        seen: what it did.
        recovered_s: seconds to the first complete frame after the fault; None: nothing to recover from.
        passed: whether it did what is expected.
    """

    fault: str
    expected: str
    seen: str
    recovered_s: float | None
    passed: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Inject faults into a running pipeline over DDS and check how it reacts."
    parser.epilog = EXAMPLES
    parser.add_argument("--only", metavar="NAME,NAME", help="only these faults (see --list)")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    parser.add_argument(
        "--long", action="store_true", help="10,000 malformed messages of each kind, overload for 14 minutes"
    )
    parser.add_argument(
        "--soak", type=positive(float), metavar="MINUTES", help="instead: a steady load for this long"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument(
        "--logs", type=Path, metavar="FOLDER", help="keep the logs of all processes in this folder"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--model", default="loopnet", help="a name or a folder (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=positive(float),
        default=1.0,
        metavar="FACTOR",
        help="factor on all timeouts, for a machine that others use too (default: 1)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--runtime", default="auto", choices=RUNTIMES, help="what runs the networks (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Run the drill; returns the exit status."""
    faults = _chosen(args)
    if args.list:
        print("\n".join(f"{fault.name:<{NAME_WIDTH}}{fault.expected}" for fault in faults))
        return 0
    environment.isolate()
    began = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ros2_derain_drill_") as folder:
        logs = args.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        for row in run(faults, Settings(args.model, args.device, logs, args.patience, args.runtime)):
            rows.append(row)
            print(_line(row), flush=True)
    spent = time.monotonic() - began
    passed = sum(row.passed for row in rows)
    if args.markdown:
        print(to_markdown(rows))
    print(f"{passed} of {len(rows)} passed, in {spent / 60:.1f} min on {_machine()}")
    if args.json:
        results = {"machine": machine.describe(), "seconds": round(spent, 1)}
        write_json(args.json, {**results, "faults": list(map(asdict, rows))})
    return 0 if passed == len(rows) else 1


def run(faults: Iterable[Fault], settings: Settings) -> Iterator[Row]:
    """Inject the faults; those with the same kind of pipeline share one, until one of them fails."""
    start = None
    with ExitStack() as stack:
        for fault in sorted(faults, key=lambda fault: fault.pipeline.__name__):
            if fault.pipeline is not start:
                stack.close()
                start = None
                try:
                    pipeline = stack.enter_context(fault.pipeline(settings))
                except (DrillError, RosTestingError) as error:
                    yield Row(fault.name, fault.expected, f"could not be started: {error}", None, False)
                    continue
            row = _inject(fault, pipeline)
            start = fault.pipeline if row.passed else None
            yield row


def _inject(fault: Fault, pipeline: TestPipeline) -> Row:
    """Inject one fault, and check the pipeline's reaction, all stamps and all processes."""
    pipeline.probe.reset()
    try:
        outcome = fault.inject(pipeline)
        pipeline.settle()
        errors = pipeline.probe.stamp_errors(fault.instances)
        if errors:
            raise CheckFailed(f"{len(errors)} outputs that belong to no frame or to another: {errors[0]}")
        for child in pipeline.children.values():
            child.require_alive()
    except (DrillError, RosTestingError, TimeoutError) as error:
        return Row(fault.name, fault.expected, str(error), None, False)
    return Row(fault.name, fault.expected, outcome.text, outcome.recovered_s, True)


def to_markdown(rows: list[Row]) -> str:
    """A table for docs/reliability.md."""
    lines = ["| fault | expected | seen | recovered in | |", "| --- | --- | --- | ---: | --- |"]
    for row in rows:
        seen, verdict = row.seen.splitlines()[0].replace("|", "/"), "" if row.passed else "**failed**"
        lines.append(f"| {row.fault} | {row.expected} | {seen} | {_seconds(row)} | {verdict} |")
    return "\n".join(lines)


def _chosen(args: argparse.Namespace) -> tuple[Fault, ...]:
    if args.soak:
        soak = partial(load.soak, minutes=args.soak)
        return (Fault("soak", "memory, threads and latency do not grow", soak, composed),)
    names = args.only.split(",") if args.only else [fault.name for fault in ALL_FAULTS]
    unknown = set(names) - {fault.name for fault in ALL_FAULTS}
    if unknown:
        known = ", ".join(fault.name for fault in ALL_FAULTS)
        raise DrillError(f"--only {', '.join(sorted(unknown))}: no such fault; known: {known}")
    chosen = tuple(fault for fault in ALL_FAULTS if fault.name in names)
    if not args.long:
        return chosen
    return tuple(replace(fault, inject=partial(fault.inject, **fault.long)) for fault in chosen)


def _line(row: Row) -> str:
    verdict = "ok  " if row.passed else "FAIL"
    return f"{verdict} {row.fault:<{NAME_WIDTH}}{_seconds(row):>8}  {row.seen}"


def _seconds(row: Row) -> str:
    return "" if row.recovered_s is None else f"{row.recovered_s:.2f} s"


def _machine() -> str:
    found = machine.describe()
    return f"{found['cores']} cores of {found['gpu'] or found['processor']}"
