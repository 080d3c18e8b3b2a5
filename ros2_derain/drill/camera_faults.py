"""Faults of the camera: silence, frozen or repeated frames, wrong stamps, malformed messages."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ros2_derain.drill import CheckFailed
from ros2_derain.drill.test_pipeline import RECOVER_S, Outcome, TestPipeline, fault
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing import malformed_messages

HOUR_NS = 3600 * 10**9
MALFORMED = 300
"""Malformed messages of each kind in the short form."""
LONG = {"messages": 10_000}
REFUSED = "refused by name; no crash, no wrong stamp"


@fault("diagnostics warn within 3 s; nothing stale is published")
def camera_stops(pipeline: TestPipeline) -> Outcome:
    """No frame for two seconds."""
    text = pipeline.require_message("no frame for", timeout_s=10.0, silent=True)
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


@fault("diagnostics name it; frames go on")
def camera_freezes(pipeline: TestPipeline) -> Outcome:
    """The same image under new stamps."""
    text = pipeline.require_message("the camera is frozen", number=777, timeout_s=60.0)
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


@fault("published under their own stamp, and counted")
def camera_repeats_frames(pipeline: TestPipeline) -> Outcome:
    """Every frame is sent three times, as a misconfigured bridge does."""
    before = pipeline.counter("stamp_jumps")
    for _ in range(3):
        stamp = pipeline.probe.send()
        number = pipeline.probe.sent[stamp].number
        for _ in range(2):
            pipeline.send_for(1 / pipeline.fps, stamp_ns=stamp, number=number)
    counted = pipeline.require_count("stamp_jumps", before)
    return Outcome(f"stamp_jumps {counted}", pipeline.recovery_s(RECOVER_S))


@fault("the newest frame wins, every other is counted")
def camera_races(pipeline: TestPipeline) -> Outcome:
    """Eight times as many frames as the machine can process, for two seconds."""
    fps, before = pipeline.fps, _replaced(pipeline)
    pipeline.fps = 16 * fps
    sent = pipeline.send_for(2.0)
    pipeline.fps = fps
    pipeline.require_settled()
    replaced, out = _replaced(pipeline) - before, sum(map(pipeline.is_complete, sent))
    if not out:
        raise CheckFailed("no frame came out meanwhile")
    text = f"{len(sent)} sent, {out} out, {replaced} replaced by a newer one"
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


def _replaced(pipeline: TestPipeline) -> int:
    """Frames replaced by newer ones, before or after they were received."""
    return pipeline.counter("dropped.replaced") + pipeline.counter("dropped.overwritten")


@fault("followed")
def resolution_changes(pipeline: TestPipeline) -> Outcome:
    """Other sizes, some with odd sides, and back."""
    for size in ((160, 288), (201, 333), (96, 160), (192, 320)):
        pipeline.recovery_s(RECOVER_S, size=size)
    return Outcome("frames of each size came out complete", pipeline.recovery_s(RECOVER_S))


@fault("followed, or refused by name")
def encoding_changes(pipeline: TestPipeline) -> Outcome:
    """bgr8, mono8, then an unknown one."""
    for encode in (_as_bgr, _as_mono):
        pipeline.recovery_s(RECOVER_S, encode=encode)
    text = pipeline.require_message("every frame is refused: encoding", encode=_as_unknown)
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


@fault("followed")
def frame_id_changes(pipeline: TestPipeline) -> Outcome:
    """Another optical frame."""
    took_s = pipeline.recovery_s(RECOVER_S, frame_id="other_camera")
    return Outcome("outputs have the new frame_id", max(took_s, pipeline.recovery_s(RECOVER_S)))


@fault("diagnostics name it; outputs have the frames' stamps")
def stamps_ahead(pipeline: TestPipeline) -> Outcome:
    """Stamps an hour ahead of the clock."""
    stamp, deadline = time.time_ns() + HOUR_NS, time.monotonic() + 20.0
    while "ahead of this clock" not in pipeline.message():
        if time.monotonic() > deadline:
            raise CheckFailed(f"diagnostics never reported the stamps, the last are {pipeline.message()!r}")
        stamp += 10**8
        pipeline.probe.send(stamp_ns=stamp)
        pipeline.probe.spin_until(lambda: "ahead of this clock" in pipeline.message(), 1 / pipeline.fps)
    return Outcome(pipeline.message(), pipeline.recovery_s(RECOVER_S))


@fault("counted; temporal state is reset, frames go on")
def stamps_jump_back(pipeline: TestPipeline) -> Outcome:
    """A bag that loops: stamps jump back by half a minute, and go on from there."""
    before, start = pipeline.counter("stamp_jumps"), time.time_ns() - 30 * 10**9
    for index in range(5):
        stamp = pipeline.probe.send(stamp_ns=start + index * 10**8)
        if not pipeline.wait_until_complete(stamp):
            raise CheckFailed("a frame after the jump did not come out")
    counted = pipeline.require_count("stamp_jumps", before)
    return Outcome(f"all frames out, stamp_jumps {counted}", pipeline.recovery_s(RECOVER_S))


@fault(REFUSED, long=LONG)
def junk_images(pipeline: TestPipeline, messages: int = MALFORMED) -> Outcome:
    """Image messages with contradicting fields, some valid ones between them."""
    return _send_malformed(pipeline, malformed_messages.image, messages)


@fault(REFUSED, long=LONG)
def junk_compressed_images(pipeline: TestPipeline, messages: int = MALFORMED) -> Outcome:
    """JPEG and PNG files that are cut off, garbled, or declare 65535 x 65535 pixels."""
    _set_transport(pipeline, "compressed")
    try:
        return _send_malformed(pipeline, malformed_messages.compressed, messages)
    finally:
        _set_transport(pipeline, "raw")


def _send_malformed(pipeline: TestPipeline, make: Callable, messages: int) -> Outcome:
    random, before = np.random.default_rng(20), _taken(pipeline)
    for index in range(messages):
        pipeline.probe.send_message(make(random))
        if index % 5 == 0:
            pipeline.probe.spin_until(lambda: False, 0.01)
    pipeline.require_settled(60.0)
    if errors := pipeline.counter("dropped.error"):
        raise CheckFailed(f"{errors} messages were dropped by an error instead of being refused")
    refused = sum(pipeline.probe.status["derain_node"].numbers("dropped.refused.").values())
    received = _taken(pipeline) - before
    out = len({output.stamp_ns for output in pipeline.probe.received[outputs.CLEAN_IMAGE.name]})
    return Outcome(f"{messages} sent, {received} received, {refused:.0f} refused by name, {out} readable")


def _taken(pipeline: TestPipeline) -> int:
    """Frames that derain_node took from the transport."""
    return pipeline.counter("frames_received") - pipeline.counter("dropped.overwritten")


def _set_transport(pipeline: TestPipeline, transport: str) -> None:
    """Make derain_node subscribe to the other kind of image."""
    pipeline.change_state("derain_node", "deactivate", "cleanup")
    pipeline.set_parameters(input_transport=transport)
    pipeline.change_state("derain_node", "configure", "activate")
    pipeline.wait(pipeline.probe.connected, 20.0)
    pipeline.probe.status.pop("derain_node", None)  # its counters have started again


def _as_bgr(message):
    message.encoding = "bgr8"
    return message


def _as_mono(message):
    message.encoding, message.step = "mono8", message.width
    message.data = message.data[::3]
    return message


def _as_unknown(message):
    message.encoding = "rgb42"
    return message
