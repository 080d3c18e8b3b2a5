"""A replay in numbers: what ``summary.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence

from ros2_derain import machine
from ros2_derain.provenance import origin
from ros2_derain.replay.injected_rain import InjectedRain
from ros2_derain.replay.session import Course

BY = "ros2-derain replay"


def summarise(course: Course, seconds: float, live: dict | None) -> dict:
    """The figures of a run that is over, JSON-ready; a run of which nothing could be read is a problem.

    Args:
        course: what was found.
        seconds: how long it took.
        live: of a live replay, what the nodes counted.
    """
    counted = course.tally.figures()
    if not counted["frames"]["read"]:
        reasons = "; ".join(counted["frames"]["unread_first_reason"].values()) or "there is none"
        course.problems.append(f"no image could be read: {reasons}")
    return {
        **origin(BY, course.model.identity),
        "classes": list(course.model.identity.class_names),
        "bag": _bag(course),
        "settings": course.job.asked(),
        "problems": course.problems,
        "notes": [*course.notes, *_doubts(course.rains, counted)],
        **counted,
        "seconds": round(seconds, 3),
        "frames_per_second": round(counted["frames"]["in"] / seconds, 3) if seconds else None,
        "bands": course.bands.rows(),
        "injected": {f"{rain.rate:g}": rain.figures() for rain in course.rains},
        "truth": course.truth.figures() if course.truth else None,
        "live": live,
        "versions": machine.versions(),
    }


def _bag(course: Course) -> dict:
    bag = course.bag
    first, last = bag.span_ns
    cameras = {}
    for source in course.found:
        told = {"type": source.type, "messages": source.messages, "namespace": source.namespace}
        counted = course.cameras.get(source.topic)
        cameras[source.topic] = told | (counted.figures() if counted else {})
    return {
        "name": bag.path.name,
        "storage": bag.storage,
        "bytes": course.job.bytes(),
        "seconds": (last - first) / 1e9,
        "messages": sum(topic.messages for topic in bag.topics),
        "cameras": cameras,
    }


def _doubts(rains: Sequence[InjectedRain], counted: dict) -> list[str]:
    """Why the figures of injected rain may mean less than they seem to."""
    raining = counted["rain"]["raining"]
    if not rains or not raining:
        return []
    return [
        f"the rain gate was open on {raining:.0%} of the frames before rain was injected: the bag is not "
        "dry, and the dry run that the injected rain is held against was derained itself"
    ]
