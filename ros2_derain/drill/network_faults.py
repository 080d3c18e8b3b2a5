"""Networks, models and parameters that fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ros2_derain import models
from ros2_derain.drill import test_pipeline as stages
from ros2_derain.drill.faults import Fault, Seen
from ros2_derain.drill.test_pipeline import BACK_S, Shortfall, Stage, Subject, composed
from ros2_derain.nodes import outputs

CLIMB_S = 30.0
"""The ladder climbs three steps, each after a second without a fault; it waits longer after a try."""


def not_finite(stage: Stage) -> Seen:
    """The derainer's output is NaN."""
    return _passes_raw(stage, "derainer nan", "not finite")


def out_of_memory(stage: Stage) -> Seen:
    """The device has no memory left."""
    return _passes_raw(stage, "derainer oom", "out of memory")


def parser_not_finite(stage: Stage) -> Seen:
    """The parser's output is NaN."""
    stage.obey("parser nan")
    said = stage.require("mode is derain_only")
    sent = stage.drive_for(1.0)
    stage.settle()
    if not any(stage.probe.heard(outputs.CLEAN_IMAGE, stamp) for stamp in sent):
        raise Shortfall("no clean image came out any more")
    if any(stage.probe.heard(outputs.LABEL_MAP, stamp) for stamp in sent):
        raise Shortfall("labels were published that nobody made")
    stage.obey("")
    return Seen(said, stage.recovery(CLIMB_S))


def ladder(stage: Stage) -> Seen:
    """Every frame takes 400 ms more, with a budget of 300 ms."""
    _set(stage, max_latency_ms=300.0, patience=2)
    before = len(stage.probe.modes)
    stage.obey("derainer slow 0.4")
    stage.fps, usual = min(stage.fps, 2.0), stage.fps
    try:
        if not stage.drive(lambda: stage.probe.modes[-1] == "pass_through", 60.0):
            raise Shortfall(f"stayed in mode {stage.probe.modes[-1]}")
        stage.obey("")
        back = stage.recovery(60.0)
    finally:
        stage.fps = usual
        stage.obey("")
        _set(stage, max_latency_ms=0.0, patience=3)
    return Seen(" > ".join(stage.probe.modes[before:]), back)


def stalled(stage: Stage) -> Seen:
    """One call of a network takes eight seconds."""
    stage.obey(f"derainer slow {8 * stage.subject.patience:g}")
    stage.drive(lambda: stage.probe.modes[-1] == "pass_through", 20.0)
    sent = stage.drive_for(1.0)
    stage.obey("")
    raw = sum(stage.probe.heard(outputs.CLEAN_IMAGE, stamp) for stamp in sent)
    if not raw:
        raise Shortfall(f"no image came while the network was stuck; mode {stage.probe.modes[-1]}")
    return Seen(
        f"{raw} of {len(sent)} images passed on raw meanwhile; {stage.said()}", stage.recovery(CLIMB_S)
    )


def corrupted_model(stage: Stage) -> Seen:
    """One byte of the weights differs when the nodes are configured again."""
    weights = Path(stage.subject.model) / models.WEIGHTS
    sound = weights.read_bytes()
    for node in stages.NODES:
        for transition in ("deactivate", "cleanup"):
            stage.probe.change(node, transition)
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    refused = [not stage.probe.change(node, "configure") for node in stages.NODES]
    weights.write_bytes(sound)
    for node in stages.NODES:
        for transition in ("configure", "activate"):
            if not stage.probe.change(node, transition):
                raise Shortfall(f"{node} did not {transition} with the sound file")
    if not all(refused):
        raise Shortfall("a corrupted file was loaded")
    stage.wait(stage.probe.connected, 20.0)
    return Seen("both nodes refused to configure", stage.recovery(BACK_S))


def parameter_abuse(stage: Stage) -> Seen:
    """Values of the wrong type, out of range, contradictory, or not to be changed now."""
    abuse = (
        ("iterations", 0), ("iterations", 10**12), ("iterations", "three"), ("prior", "psychic"),
        ("gate_open_mm_h", -1.0), ("gate_open_mm_h", float("nan")), ("gate_close_mm_h", 199.0),
        ("patience", -5), ("max_latency_ms", float("inf")), ("recover_after_s", 0.0),
        ("jpeg_quality", 101), ("max_pixels", 1), ("model", "../../etc"), ("device", "tpu"),
        ("input_transport", "pigeon"), ("warmup_width", 100000), ("diagnostics_period_s", -1.0),
        ("no_such_parameter", 1),
    )  # fmt: skip
    taken = [f"{n}={v}" for n, v in abuse if stage.probe.set_parameter("derain_node", n, v)[0]]
    if taken:
        raise Shortfall(f"these were taken: {', '.join(taken)}")
    return Seen(f"{len(abuse)} of {len(abuse)} refused with a reason", stage.recovery(BACK_S))


def _passes_raw(stage: Stage, order: str, said: str) -> Seen:
    """Have the derainer fail; every frame must come out as it came, marked so."""
    stage.obey(order)
    message = stage.require(said)
    sent = stage.drive_for(1.0)
    stage.settle()
    if not any(stage.probe.heard(outputs.CLEAN_IMAGE, stamp) for stamp in sent):
        raise Shortfall("no image came out any more")
    if stage.probe.modes[-1] != "pass_through":
        raise Shortfall(f"mode is {stage.probe.modes[-1]}, not pass_through")
    stage.obey("")
    return Seen(message, stage.recovery(CLIMB_S))


def _set(stage: Stage, **values) -> None:
    for name, value in values.items():
        taken, reason = stage.probe.set_parameter("derain_node", name, value)
        if not taken:
            raise Shortfall(f"{name}={value} was refused: {reason}")


@contextmanager
def with_model_of_its_own(subject: Subject) -> Iterator[Stage]:
    """A composed pipeline on a copy of the model, which may be spoilt."""
    copy = subject.out / "copy_of_model"
    shutil.copytree(models.find(subject.model), copy, dirs_exist_ok=True)
    with composed(replace(subject, model=str(copy))) as stage:
        yield stage


FAULTS = (
    Fault("derainer-not-finite", "raw image under its stamp; mode and ERROR say so", not_finite, composed),
    Fault(
        "device-out-of-memory", "raw image under its stamp; mode and ERROR say so", out_of_memory, composed
    ),
    Fault("parser-not-finite", "clean image goes on; no labels; WARN", parser_not_finite, composed),
    Fault("frames-over-budget", "down the ladder and up again, announced", ladder, composed),
    Fault("network-stalls", "later images pass on raw; ERROR names it", stalled, composed),
    Fault("parameter-abuse", "all refused with a reason; frames go on", parameter_abuse, composed),
    Fault(
        "model-corrupted-at-reload", "configure fails with the reason", corrupted_model, with_model_of_its_own
    ),
)
