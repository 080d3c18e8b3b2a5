"""What a camera does to a pipeline."""

from __future__ import annotations

import time

import numpy as np

from ros2_derain.drill.faults import Fault, Seen
from ros2_derain.drill.test_pipeline import BACK_S, Shortfall, Stage, composed
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing import malformed_messages

HOUR_NS = 3600 * 10**9
FUZZED = 300
"""Messages of each kind in the short form."""


def stops(stage: Stage) -> Seen:
    """No frame for two seconds."""
    said = ""
    if not stage.wait(lambda: "no frame for" in stage.said(), 10.0):
        raise Shortfall(f"diagnostics never named the silence, but {stage.said()!r}")
    said = stage.said()
    return Seen(said, stage.recovery(BACK_S))


def freezes(stage: Stage) -> Seen:
    """The same picture under ever new stamps."""
    said = stage.require("the camera is frozen", number=777, timeout_s=60.0)
    return Seen(said, stage.recovery(BACK_S))


def repeats(stage: Stage) -> Seen:
    """Every frame is sent three times, as a misconfigured bridge does."""
    before = stage.counted("stamp_jumps")
    for _ in range(3):
        stamp = stage.probe.send()
        number = stage.probe.sent[stamp].number
        for _ in range(2):
            stage.drive_for(1 / stage.fps, stamp_ns=stamp, number=number)
    stage.settle()
    if stage.counted("stamp_jumps") <= before:
        raise Shortfall("nobody counted the stamps that did not advance")
    return Seen(f"stamp_jumps {stage.counted('stamp_jumps') - before}", stage.recovery(BACK_S))


def races(stage: Stage) -> Seen:
    """Eight frames for each that the machine can do, for two seconds."""
    usual, before = stage.fps, _outrun(stage)
    stage.fps = 16 * usual
    sent = stage.drive_for(2.0)
    stage.fps = usual
    if not stage.settle():
        raise Shortfall("the books of derain_node do not balance")
    outrun, out = _outrun(stage) - before, sum(map(stage.is_whole, sent))
    if not out:
        raise Shortfall("no frame came out meanwhile")
    return Seen(f"{len(sent)} sent, {out} out, {outrun} outrun by a newer one", stage.recovery(BACK_S))


def _outrun(stage: Stage) -> int:
    """Frames that gave way to newer ones, before or after they were received."""
    return stage.counted("dropped.replaced") + stage.counted("dropped.overwritten")


def changes_resolution(stage: Stage) -> Seen:
    """Another size, odd sides among them, and back."""
    for size in ((160, 288), (201, 333), (96, 160), (192, 320)):
        stage.recovery(BACK_S, size=size)
    return Seen("each size came out whole", stage.recovery(BACK_S))


def changes_encoding(stage: Stage) -> Seen:
    """bgr8, mono8, then one that nobody knows."""
    for encode in (_as_bgr, _as_mono):
        stage.recovery(BACK_S, encode=encode)
    said = stage.require("every frame is refused: encoding", encode=_as_unknown)
    return Seen(said, stage.recovery(BACK_S))


def changes_frame_id(stage: Stage) -> Seen:
    """Another optical frame."""
    took = stage.recovery(BACK_S, frame_id="other_camera")
    return Seen("outputs bear the new frame_id", max(took, stage.recovery(BACK_S)))


def runs_ahead(stage: Stage) -> Seen:
    """Stamps an hour ahead of the clock."""
    offset = time.time_ns() + HOUR_NS
    deadline = time.monotonic() + 20.0
    while "ahead of this clock" not in stage.said():
        if time.monotonic() > deadline:
            raise Shortfall(f"diagnostics never named the stamps, but {stage.said()!r}")
        offset += 10**8
        stage.probe.send(stamp_ns=offset)
        stage.probe.spin_until(lambda: "ahead of this clock" in stage.said(), 1 / stage.fps)
    return Seen(stage.said(), stage.recovery(BACK_S))


def jumps_back(stage: Stage) -> Seen:
    """A bag that loops: stamps jump back by half a minute, and run on from there."""
    before, start = stage.counted("stamp_jumps"), time.time_ns() - 30 * 10**9
    for index in range(5):
        stamp = stage.probe.send(stamp_ns=start + index * 10**8)
        if not stage.wait(lambda stamp=stamp: stage.is_whole(stamp), 20.0):
            raise Shortfall("a frame after the jump did not come out")
    stage.settle()
    if stage.counted("stamp_jumps") <= before:
        raise Shortfall("nobody counted the jump")
    return Seen(
        f"all frames out, stamp_jumps {stage.counted('stamp_jumps') - before}", stage.recovery(BACK_S)
    )


def sends_junk(stage: Stage, messages: int = FUZZED) -> Seen:
    """Image messages with every field at odds with the others, good frames between them."""
    return _fuzz(stage, malformed_messages.image, messages)


def sends_compressed_junk(stage: Stage, messages: int = FUZZED) -> Seen:
    """JPEG and PNG files that are cut, garbled, or claim 65535 x 65535 pixels."""
    _take(stage, "compressed")
    try:
        return _fuzz(stage, malformed_messages.compressed, messages)
    finally:
        _take(stage, "raw")


def _fuzz(stage: Stage, make, messages: int) -> Seen:
    random, began = np.random.default_rng(20), _taken(stage)
    for index in range(messages):
        stage.probe.send_as_is(make(random))
        if index % 5 == 0:
            stage.probe.spin_until(lambda: False, 0.01)
    if not stage.settle(60.0):
        raise Shortfall("the books of derain_node do not balance")
    refused = sum(stage.probe.status["derain_node"].numbers("dropped.refused.").values())
    errors = stage.counted("dropped.error")
    if errors:
        raise Shortfall(f"{errors} messages were lost to an error instead of being refused")
    received = _taken(stage) - began
    out = len({answer.stamp_ns for answer in stage.probe.answers[outputs.CLEAN_IMAGE.name]})
    return Seen(f"{messages} sent, {received} received, {refused:.0f} refused by name, {out} readable")


def _taken(stage: Stage) -> int:
    """Frames that derain_node took from the transport."""
    return stage.counted("frames_received") - stage.counted("dropped.overwritten")


def _take(stage: Stage, transport: str) -> None:
    """Have derain_node listen to the other kind of image."""
    for transition in ("deactivate", "cleanup"):
        _require(stage.probe.change("derain_node", transition), transition)
    _require(stage.probe.set_parameter("derain_node", "input_transport", transport)[0], "set input_transport")
    for transition in ("configure", "activate"):
        _require(stage.probe.change("derain_node", transition), transition)
    stage.wait(stage.probe.connected, 20.0)
    stage.probe.status.pop("derain_node", None)  # its counters have begun anew


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Shortfall(f"derain_node did not {what}")


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


FAULTS = (
    Fault("camera-stops", "diagnostics warn within 3 s; nothing stale is published", stops, composed),
    Fault("camera-freezes", "diagnostics name it; frames go on", freezes, composed),
    Fault("camera-repeats-frames", "answered under their own stamp, and counted", repeats, composed),
    Fault("camera-races", "the newest frame wins, every other is counted", races, composed),
    Fault("resolution-changes", "followed", changes_resolution, composed),
    Fault("encoding-changes", "followed, or refused by name", changes_encoding, composed),
    Fault("frame-id-changes", "followed", changes_frame_id, composed),
    Fault("stamps-ahead", "diagnostics name it; outputs bear the frames' stamps", runs_ahead, composed),
    Fault("stamps-jump-back", "counted; the past is forgotten, frames go on", jumps_back, composed),
    Fault("junk-images", "refused by name; no crash, no wrong stamp", sends_junk, composed),
    Fault(
        "junk-compressed-images", "refused by name; no crash, no wrong stamp", sends_compressed_junk, composed
    ),
)
