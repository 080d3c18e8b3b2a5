"""``ros2-derain drill``: faults injected into a running pipeline, judged, and timed."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from ros2_derain import environment, machine
from ros2_derain.drill import camera_faults, load, network_faults, process_faults
from ros2_derain.drill.faults import Fault
from ros2_derain.drill.test_pipeline import Shortfall, Stage, Subject, composed
from ros2_derain.errors import EvaluationError
from ros2_derain.reporting.files import write_json

CAMPAIGN = (*camera_faults.FAULTS, *network_faults.FAULTS, *process_faults.FAULTS)
FUZZED_LONG = 10_000

EXAMPLES = """examples:
  ros2-derain drill
  ros2-derain drill --only camera-stops,derainer-not-finite --json drill.json
  ros2-derain drill --long --markdown > drill.md
  ros2-derain drill --soak 30

Runs on a ROS domain of its own, on this machine only. Exit status: 0, or 1 when the
pipeline fell short anywhere."""


@dataclass(frozen=True)
class Row:
    """What came of one fault.

    Attributes:
        fault: its name.
        expected: what the pipeline should do.
        seen: what it did.
        recovered_s: seconds to the first whole frame after the fault; None: nothing to recover from.
        passed: whether it did what it should.
    """

    fault: str
    expected: str
    seen: str
    recovered_s: float | None
    passed: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Inject faults into a running pipeline over DDS; judge what it makes of them."
    parser.epilog = EXAMPLES
    parser.add_argument("--only", metavar="NAME,NAME", help="these faults (see --list)")
    parser.add_argument("--list", action="store_true", help="list the faults and leave")
    parser.add_argument("--long", action="store_true", help="10,000 junk messages, overload for 14 minutes")
    parser.add_argument("--soak", type=_positive, metavar="MINUTES", help="instead: frames for so long")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the logs of all processes there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--model", default="loopnet", help="a name or a folder (default: %(default)s)")
    parser.add_argument(
        "--patience",
        type=_positive,
        default=1.0,
        metavar="FACTOR",
        help="wait so many times as long, on a machine that others use too (default: 1)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def main(args: argparse.Namespace) -> int:
    """Run the drill; returns the exit status."""
    faults = _chosen(args)
    if args.list:
        print("\n".join(f"{fault.name:<28}{fault.expected}" for fault in faults))
        return 0
    environment.isolate()
    began = time.monotonic()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ros2_derain_drill_") as folder:
        logs = args.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        for row in run(faults, Subject(args.model, args.device, logs, args.patience)):
            rows.append(row)
            print(_line(row), flush=True)
    spent = time.monotonic() - began
    fallen = [row.fault for row in rows if not row.passed]
    if args.markdown:
        print(to_markdown(rows))
    print(f"{len(rows) - len(fallen)} of {len(rows)} stood, in {spent / 60:.1f} min on {_machine()}")
    if args.json:
        told = {"machine": machine.describe(), "seconds": round(spent, 1), "faults": list(map(asdict, rows))}
        write_json(args.json, told)
    return 1 if fallen else 0


def run(faults: Iterable[Fault], subject: Subject) -> Iterator[Row]:
    """Play the faults, those that share a stage on one, as long as it stands."""
    for make, group in groupby(sorted(faults, key=lambda fault: fault.stage.__name__), lambda f: f.stage):
        yield from _on_one_stage(list(group), partial(make, subject))


def _on_one_stage(faults: list[Fault], make: Callable) -> Iterator[Row]:
    """After a fault that it did not stand, the stage is set up anew."""
    waiting = list(faults)
    while waiting:
        with ExitStack() as stack:
            try:
                stage = stack.enter_context(make())
            except (Shortfall, EvaluationError) as error:
                fault = waiting.pop(0)
                yield Row(fault.name, fault.expected, f"could not be started: {error}", None, False)
                continue
            stood = True
            while waiting and stood:
                row = _play(waiting.pop(0), stage)
                stood = row.passed
                yield row


def _play(fault: Fault, stage: Stage) -> Row:
    """One fault, and whether everything is as before it."""
    stage.probe.forget()
    try:
        seen = fault.inject(stage)
        stage.settle()
        strangers = stage.probe.strangers(fault.instances)
        if strangers:
            raise Shortfall(f"{len(strangers)} answers to nobody: {strangers[0]}")
        for child in stage.children.values():
            child.require_alive()
    except (Shortfall, EvaluationError, TimeoutError) as error:
        return Row(fault.name, fault.expected, str(error), None, False)
    return Row(fault.name, fault.expected, seen.text, seen.recovered_s, True)


def to_markdown(rows: list[Row]) -> str:
    """A table for docs/reliability.md."""
    lines = ["| fault | expected | seen | recovered in | |", "| --- | --- | --- | ---: | --- |"]
    for row in rows:
        seen, verdict = row.seen.splitlines()[0].replace("|", "/"), "" if row.passed else "**falls short**"
        lines.append(f"| {row.fault} | {row.expected} | {seen} | {_seconds(row)} | {verdict} |")
    return "\n".join(lines)


def _chosen(args: argparse.Namespace) -> tuple[Fault, ...]:
    if args.soak:
        steady = partial(load.soak, minutes=args.soak)
        return (Fault("soak", "memory, threads and latency do not creep", steady, composed),)
    faults = (*CAMPAIGN, *(load.LONG if args.long else load.SHORT))
    if args.long:
        faults = tuple(_lengthened(fault) for fault in faults)
    if not args.only:
        return faults
    names = args.only.split(",")
    unknown = set(names) - {fault.name for fault in faults}
    if unknown:
        known = ", ".join(fault.name for fault in faults)
        raise EvaluationError(f"--only {', '.join(sorted(unknown))}: no such fault; known: {known}")
    return tuple(fault for fault in faults if fault.name in names)


def _lengthened(fault: Fault) -> Fault:
    if not fault.name.startswith("junk"):
        return fault
    return replace(fault, inject=partial(fault.inject, messages=FUZZED_LONG))


def _line(row: Row) -> str:
    verdict = "ok  " if row.passed else "FAIL"
    return f"{verdict} {row.fault:<28}{_seconds(row):>8}  {row.seen}"


def _seconds(row: Row) -> str:
    return "" if row.recovered_s is None else f"{row.recovered_s:.2f} s"


def _machine() -> str:
    found = machine.describe()
    return f"{found['cores']} cores of {found['gpu'] or found['processor']}"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10_000:
        raise ValueError(text)
    return value
