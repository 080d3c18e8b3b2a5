"""Processes that die, hang, run twice or cannot talk to each other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ros2_derain.drill.faults import Fault, Seen
from ros2_derain.drill.test_pipeline import (
    BACK_S,
    START_S,
    SUBJECT,
    Shortfall,
    Stage,
    Subject,
    composed,
    ros_arguments,
    start_node,
    two_processes,
)
from ros2_derain.nodes import outputs

RESPAWN_S = 60.0
"""A process that is started again loads Python, torch and the model, and warms up."""


def derain_dies(stage: Stage) -> Seen:
    """SIGKILL to derain_node, which is then started again, as launch does."""
    _kill(stage, "derain_node")
    if not stage.drive(lambda: "no frame for" in stage.said("segmentation_node"), 20.0):
        raise Shortfall(
            f"segmentation_node said nothing of the silence, but {stage.said('segmentation_node')!r}"
        )
    said = stage.said("segmentation_node")
    start_node(stage, "derain_node")
    return Seen(f"segmentation_node: {said}", stage.recovery(RESPAWN_S))


def segmentation_dies(stage: Stage) -> Seen:
    """SIGKILL to segmentation_node; the clean image must go on."""
    _kill(stage, "segmentation_node")
    sent = stage.drive_for(2.0)
    stage.settle()
    out = sum(stage.probe.heard(outputs.CLEAN_IMAGE, stamp) for stamp in sent)
    if not out:
        raise Shortfall("no clean image came out without segmentation_node")
    start_node(stage, "segmentation_node")
    return Seen(f"{out} of {len(sent)} clean images meanwhile", stage.recovery(RESPAWN_S))


def pipeline_dies(stage: Stage) -> Seen:
    """SIGKILL to the composed pipeline, which is then started again."""
    _kill(stage, "pipeline")
    known = sum(map(len, stage.probe.answers.values()))
    stage.drive_for(1.0)
    if sum(map(len, stage.probe.answers.values())) > known + 5:
        raise Shortfall("outputs came from a dead pipeline")
    _start_pipeline(stage, "pipeline")
    return Seen("silence, nothing stale", stage.recovery(RESPAWN_S))


def told_to_end(stage: Stage) -> Seen:
    """SIGTERM in the middle of a frame."""
    stage.probe.send()
    began = time.monotonic()
    child = stage.children["pipeline"]
    written = len(child.log.read_bytes())
    os.kill(child.pid, signal.SIGTERM)
    if not stage.wait(child.ended, 20.0):
        raise Shortfall("still there 20 s after SIGTERM")
    took = time.monotonic() - began
    child.require_success()
    if b"Traceback" in child.log.read_bytes()[written:]:
        raise Shortfall(f"ended with a traceback{child.tail()}")
    _start_pipeline(stage, "pipeline")
    return Seen(f"ended with status 0 after {took:.1f} s", stage.recovery(RESPAWN_S))


def runs_twice(stage: Stage) -> Seen:
    """A second pipeline is started in the same namespace."""
    _start_pipeline(stage, "second")
    said = stage.require("is it running twice", timeout_s=START_S)
    stage.drive_for(1.0)
    stage.children.pop("second").stop()
    return Seen(said, stage.recovery(BACK_S))


def subscriber_hangs(stage: Stage) -> Seen:
    """A reliable subscriber of every image is stopped in the middle of it (SIGSTOP)."""
    heard = [topic.name for topic in (outputs.CLEAN_IMAGE, outputs.TRUST, outputs.LABEL_MAP)]
    hanging = stage.start("subscriber", "ros2_derain.ros_testing.listener", heard)
    before = stage.probe.subscribers(outputs.CLEAN_IMAGE)
    if not stage.drive(lambda: stage.probe.subscribers(outputs.CLEAN_IMAGE) > before, START_S):
        raise Shortfall("the subscriber was never found")
    quick = _median_age(stage)
    os.kill(hanging.pid, signal.SIGSTOP)
    try:
        slow = _median_age(stage, seconds=5.0)
    finally:
        os.kill(hanging.pid, signal.SIGCONT)
        stage.children.pop("subscriber").stop()
    if slow > max(3 * quick, quick + 0.3):
        raise Shortfall(f"others got frames {1e3 * slow:.0f} ms old instead of {1e3 * quick:.0f} ms")
    return Seen(
        f"others get frames {1e3 * slow:.0f} ms old, as before ({1e3 * quick:.0f} ms)", stage.recovery(BACK_S)
    )


def speaks_past(stage: Stage) -> Seen:
    """The camera offers best effort, the pipeline was told to want reliable."""
    name = "deaf"
    stage.children.pop("pipeline").stop()
    _start_pipeline(stage, name, **{"qos_overrides./image.subscription.reliability": "reliable"})
    if not stage.drive(lambda: "offers another reliability" in stage.said(), START_S):
        raise Shortfall(f"diagnostics never named it, but {stage.said()!r}")
    said = stage.said()
    stage.children.pop(name).stop()
    _start_pipeline(stage, "pipeline")
    return Seen(said, stage.recovery(RESPAWN_S))


def shared_memory_is_full(stage: Stage) -> Seen:
    """The pipeline cannot have a shared-memory segment: DDS must fall back to UDP."""
    sent = stage.drive_for(3.0)
    stage.settle()
    out = sum(map(stage.is_whole, sent))
    if not out:
        raise Shortfall(f"no frame came out{stage.children['pipeline'].tail()}")
    return Seen(f"{out} of {len(sent)} frames came out over UDP", stage.recovery(BACK_S))


def _kill(stage: Stage, name: str) -> None:
    child = stage.children[name]
    os.kill(child.pid, signal.SIGKILL)
    if not stage.wait(child.ended, 10.0):
        raise Shortfall(f"{name} survived SIGKILL")


def _start_pipeline(stage: Stage, name: str, **parameters) -> None:
    stage.start(name, SUBJECT, [str(stage.order), *ros_arguments(stage.subject, **parameters)])


def _median_age(stage: Stage, seconds: float = 2.0) -> float:
    """Of the clean images of frames sent from now on, in seconds."""
    sent = set(stage.drive_for(seconds))
    stage.settle()
    ages = sorted(
        answer.at - stage.probe.sent[answer.stamp_ns].at
        for answer in stage.probe.answers[outputs.CLEAN_IMAGE.name]
        if answer.stamp_ns in sent
    )
    if not ages:
        raise Shortfall("no frame came out")
    return ages[len(ages) // 2]


@contextmanager
def without_shared_memory(subject: Subject) -> Iterator[Stage]:
    """A composed pipeline that may make no file above 1 MB: to it /dev/shm is full."""
    with composed(subject, largest_file=1 << 20) as stage:
        yield stage


FAULTS = (
    Fault(
        "segmentation-node-dies", "clean images go on; back when respawned", segmentation_dies, two_processes
    ),
    Fault(
        "derain-node-dies", "silence that diagnostics name; back when respawned", derain_dies, two_processes
    ),
    Fault("pipeline-dies", "silence, nothing stale; back when respawned", pipeline_dies, composed),
    Fault("sigterm", "status 0 within 20 s, no traceback", told_to_end, composed),
    Fault("two-instances", "diagnostics of both name it", runs_twice, composed, instances=2),
    Fault("subscriber-hangs", "nobody else notices", subscriber_hangs, composed),
    Fault("qos-mismatch", "diagnostics name the policy", speaks_past, composed),
    Fault("shared-memory-full", "frames go over UDP", shared_memory_is_full, without_shared_memory),
)
