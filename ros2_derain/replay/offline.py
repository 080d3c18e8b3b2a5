"""Replays one bag offline: every frame, in order, as fast as it goes, the same each time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ros2_derain.bags.reader import BagReader
from ros2_derain.replay import criteria, report
from ros2_derain.replay.criteria import Criterion
from ros2_derain.replay.job import Job
from ros2_derain.replay.output_folder import REPORT, SUMMARY, Output
from ros2_derain.replay.session import Course
from ros2_derain.replay.summary import summarise
from ros2_derain.reporting.files import write_json
from ros2_derain.reporting.page import write
from ros2_derain.reporting.progress import Progress


def replay(
    job: Job, folder: Path, demands: Sequence[Criterion] = (), *, force: bool = False, quiet: bool = False
) -> dict:
    """Replay a bag into a folder; returns what ``summary.json`` holds.

    Args:
        job: what is to be done.
        folder: of the results.
        demands: criteria that the run is held against.
        force: replace an earlier replay's files.
        quiet: show no progress.

    Raises:
        EvaluationError: it cannot begin: the bag cannot be read, has no camera, does not fit on
            the disk. What goes wrong later is said in the summary's ``problems``.
    """
    with BagReader(job.bag, recover=True) as bag, Output(folder, job.kept, force) as output:
        course = Course.begin(job, bag)
        output.require_space(course.pixels())
        output.open(course.found, course.model)
        began = time.monotonic()
        with Progress(f"replaying {job.bag.name}", 0 if quiet else max(course.frames, 1)) as progress:
            course.follow(output, progress.step)
        return conclude(course, folder, demands, time.monotonic() - began)


def conclude(
    course: Course, folder: Path, demands: Sequence[Criterion], seconds: float, live: dict | None = None
) -> dict:
    """Write summary and report of a run that is over; returns what ``summary.json`` holds.

    Args:
        course: what was found.
        folder: of the results.
        demands: criteria that it is held against.
        seconds: how long it took.
        live: of a live replay, what the nodes counted.
    """
    summary = summarise(course, seconds, live)
    summary["criteria"] = criteria.judge(demands, summary)
    summary["passed"] = _passed(summary)
    write_json(folder / SUMMARY, summary)
    write(report.build(summary, course.points, list(course.worst)), folder / REPORT)
    return summary


def _passed(summary: dict) -> bool | None:
    """None where nothing was demanded and nothing went wrong."""
    if summary["problems"] or any(judged["met"] is False for judged in summary["criteria"]):
        return False
    return True if summary["criteria"] else None
