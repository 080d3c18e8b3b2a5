"""Faults of the pipeline: networks, model files and parameters; processes that die, hang or run twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ros2_derain import models
from ros2_derain.drill import CheckFailed
from ros2_derain.drill.test_pipeline import (
    NODES,
    RECOVER_S,
    RESPAWN_S,
    START_S,
    Outcome,
    Settings,
    TestPipeline,
    composed,
    fault,
    two_processes,
)
from ros2_derain.nodes import outputs

STEP_UP_S = 30.0
"""The ladder steps up three times, each after a second without a fault, later after a failed try."""

MARKED = "raw image under its stamp; mode and ERROR say so"


@contextmanager
def with_own_model(settings: Settings) -> Iterator[TestPipeline]:
    """A composed pipeline with a copy of the model, which may be corrupted."""
    copy = settings.out / "copy_of_model"
    shutil.copytree(models.find(settings.model), copy, dirs_exist_ok=True)
    with composed(replace(settings, model=str(copy))) as pipeline:
        yield pipeline


@contextmanager
def without_shared_memory(settings: Settings) -> Iterator[TestPipeline]:
    """A composed pipeline that may make no file above 1 MB: to it, /dev/shm is full."""
    with composed(settings, largest_file=1 << 20) as pipeline:
        yield pipeline


# Networks, model files, parameters


@fault(MARKED)
def derainer_not_finite(pipeline: TestPipeline) -> Outcome:
    """The derainer's output is NaN."""
    return _passes_through(pipeline, "derainer nan", "not finite")


@fault(MARKED)
def device_out_of_memory(pipeline: TestPipeline) -> Outcome:
    """The device has no memory left."""
    return _passes_through(pipeline, "derainer oom", "out of memory")


def _passes_through(pipeline: TestPipeline, broken: str, text: str) -> Outcome:
    """Make the derainer fail; frames must pass through, and be marked so."""
    pipeline.set_fault(broken)
    message = pipeline.require_message(text)
    pipeline.require_output(pipeline.send_for(1.0))
    if not pipeline.wait(lambda: pipeline.probe.mode() == "pass_through", 5.0):
        raise CheckFailed(f"mode is {pipeline.probe.mode()}, not pass_through")
    pipeline.set_fault("")
    return Outcome(message, pipeline.recovery_s(STEP_UP_S))


@fault("clean image goes on; no labels; WARN")
def parser_not_finite(pipeline: TestPipeline) -> Outcome:
    """The parser's output is NaN."""
    pipeline.set_fault("parser nan")
    message = pipeline.require_message("mode is derain_only")
    sent = pipeline.send_for(1.0)
    pipeline.settle()
    pipeline.require_output(sent)
    if any(pipeline.probe.has_output(outputs.LABEL_MAP, stamp) for stamp in sent):
        raise CheckFailed("labels were published although the parser failed")
    pipeline.set_fault("")
    return Outcome(message, pipeline.recovery_s(STEP_UP_S))


@fault("down the ladder and up again, announced")
def frames_over_budget(pipeline: TestPipeline) -> Outcome:
    """Every frame takes 400 ms more, with a budget of 300 ms."""
    pipeline.set_parameters(max_latency_ms=300.0, patience=2)
    before = len(pipeline.probe.modes)
    pipeline.set_fault("derainer slow 0.4")
    pipeline.fps, fps = min(pipeline.fps, 2.0), pipeline.fps
    try:
        if not pipeline.send_until(lambda: pipeline.probe.mode() == "pass_through", 60.0):
            raise CheckFailed(f"stayed in mode {pipeline.probe.mode()}")
        pipeline.set_fault("")
        recovered_s = pipeline.recovery_s(60.0)
    finally:
        pipeline.fps = fps
        pipeline.set_fault("")
        pipeline.set_parameters(max_latency_ms=0.0, patience=3)
    return Outcome(" > ".join(pipeline.probe.modes[before:]), recovered_s)


@fault("later images pass through; ERROR names it")
def network_stalls(pipeline: TestPipeline) -> Outcome:
    """One call of a network takes eight seconds."""
    pipeline.set_fault(f"derainer slow {8 * pipeline.settings.patience:g}")
    pipeline.send_until(lambda: pipeline.probe.mode() == "pass_through", 20.0)
    sent = pipeline.send_for(1.0)
    pipeline.set_fault("")
    passed = pipeline.require_output(sent)
    text = f"{passed} of {len(sent)} images passed through meanwhile; {pipeline.message()}"
    return Outcome(text, pipeline.recovery_s(STEP_UP_S))


@fault("all refused with a reason; frames go on")
def parameter_abuse(pipeline: TestPipeline) -> Outcome:
    """Values of the wrong type, out of range, contradictory, or not to be changed now."""
    abuse = (
        ("iterations", 0), ("iterations", 10**12), ("iterations", "three"), ("prior", "psychic"),
        ("gate_open_mm_h", -1.0), ("gate_open_mm_h", float("nan")), ("gate_close_mm_h", 199.0),
        ("patience", -5), ("max_latency_ms", float("inf")), ("recover_after_s", 0.0),
        ("jpeg_quality", 101), ("max_pixels", 1), ("model", "../../etc"), ("device", "tpu"),
        ("input_transport", "pigeon"), ("warmup_width", 100000), ("diagnostics_period_s", -1.0),
        ("no_such_parameter", 1),
    )  # fmt: skip
    accepted = [f"{n}={v}" for n, v in abuse if pipeline.probe.set_parameter("derain_node", n, v)[0]]
    if accepted:
        raise CheckFailed(f"these were accepted: {', '.join(accepted)}")
    return Outcome(f"{len(abuse)} of {len(abuse)} refused with a reason", pipeline.recovery_s(RECOVER_S))


@fault("configure fails with the reason", with_own_model)
def model_corrupted_at_reload(pipeline: TestPipeline) -> Outcome:
    """One byte of the weights differs when the nodes are configured again."""
    weights = Path(pipeline.settings.model) / models.WEIGHTS
    valid = weights.read_bytes()
    for node in NODES:
        pipeline.change_state(node, "deactivate", "cleanup")
    weights.write_bytes(valid[:-1] + bytes([valid[-1] ^ 1]))
    refused = [not pipeline.probe.change(node, "configure") for node in NODES]
    weights.write_bytes(valid)
    if not all(refused):
        raise CheckFailed("a corrupted file was loaded")
    for node in NODES:
        pipeline.change_state(node, "configure", "activate")
    pipeline.wait(pipeline.probe.connected, 20.0)
    return Outcome("both nodes refused to configure", pipeline.recovery_s(RECOVER_S))


# Processes


@fault("clean images go on; recovery after respawn", two_processes)
def segmentation_node_dies(pipeline: TestPipeline) -> Outcome:
    """SIGKILL to segmentation_node; clean images must go on."""
    _kill(pipeline, "segmentation_node")
    sent = pipeline.send_for(2.0)
    pipeline.settle()
    out = pipeline.require_output(sent)
    pipeline.start_node("segmentation_node")
    return Outcome(f"{out} of {len(sent)} clean images meanwhile", pipeline.recovery_s(RESPAWN_S))


@fault("silence that diagnostics name; recovery after respawn", two_processes)
def derain_node_dies(pipeline: TestPipeline) -> Outcome:
    """SIGKILL to derain_node, which is then started again, as launch does."""
    _kill(pipeline, "derain_node")
    text = pipeline.require_message("no frame for", node="segmentation_node", timeout_s=20.0)
    pipeline.start_node("derain_node")
    return Outcome(f"segmentation_node: {text}", pipeline.recovery_s(RESPAWN_S))


@fault("silence, nothing stale; recovery after respawn")
def pipeline_dies(pipeline: TestPipeline) -> Outcome:
    """SIGKILL to the composed pipeline, which is then started again."""
    _kill(pipeline, "pipeline")
    before = sum(map(len, pipeline.probe.received.values()))
    pipeline.send_for(1.0)
    if sum(map(len, pipeline.probe.received.values())) > before + 5:  # some may have been on their way
        raise CheckFailed("outputs came from a dead pipeline")
    pipeline.start_composed("pipeline")
    return Outcome("silence, nothing stale", pipeline.recovery_s(RESPAWN_S))


@fault("status 0 within 20 s, no traceback")
def sigterm(pipeline: TestPipeline) -> Outcome:
    """SIGTERM while a frame is processed."""
    pipeline.probe.send()
    began = time.monotonic()
    child = pipeline.children["pipeline"]
    logged = len(child.log.read_bytes())
    os.kill(child.pid, signal.SIGTERM)
    if not pipeline.wait(child.ended, 20.0):
        raise CheckFailed("still running 20 s after SIGTERM")
    took_s = time.monotonic() - began
    child.require_success()
    if b"Traceback" in child.log.read_bytes()[logged:]:
        raise CheckFailed(f"ended with a traceback{child.tail()}")
    pipeline.start_composed("pipeline")
    return Outcome(f"ended with status 0 after {took_s:.1f} s", pipeline.recovery_s(RESPAWN_S))


@fault("diagnostics of both name it", instances=2)
def two_instances(pipeline: TestPipeline) -> Outcome:
    """A second pipeline is started in the same namespace."""
    pipeline.start_composed("second")
    text = pipeline.require_message("is it running twice", timeout_s=START_S)
    pipeline.send_for(1.0)
    pipeline.stop("second")
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


@fault("other subscribers notice nothing")
def subscriber_hangs(pipeline: TestPipeline) -> Outcome:
    """A reliable subscriber of all images is stopped while it receives (SIGSTOP)."""
    names = [topic.name for topic in (outputs.CLEAN_IMAGE, outputs.TRUST, outputs.LABEL_MAP)]
    before = pipeline.probe.subscribers(outputs.CLEAN_IMAGE)
    subscriber = pipeline.start("subscriber", "ros2_derain.ros_testing.observer", names)
    if not pipeline.send_until(lambda: pipeline.probe.subscribers(outputs.CLEAN_IMAGE) > before, START_S):
        raise CheckFailed("the subscriber was never discovered")
    usual_s = _median_age_s(pipeline, 2.0)
    os.kill(subscriber.pid, signal.SIGSTOP)
    try:
        age_s = _median_age_s(pipeline, 5.0)
    finally:
        os.kill(subscriber.pid, signal.SIGCONT)
        pipeline.stop("subscriber")
    if age_s > max(3 * usual_s, usual_s + 0.3):
        raise CheckFailed(f"others got frames {1e3 * age_s:.0f} ms old instead of {1e3 * usual_s:.0f} ms")
    text = f"others get frames {1e3 * age_s:.0f} ms old, as before ({1e3 * usual_s:.0f} ms)"
    return Outcome(text, pipeline.recovery_s(RECOVER_S))


def _median_age_s(pipeline: TestPipeline, seconds: float) -> float:
    """Of the clean images of frames that are sent from now on."""
    sent = pipeline.send_for(seconds)
    pipeline.settle()
    return float(np.median(pipeline.ages_s(sent)))


@fault("diagnostics name the policy")
def qos_mismatch(pipeline: TestPipeline) -> Outcome:
    """The camera offers best effort; the pipeline is started with a reliable subscription."""
    pipeline.stop("pipeline")
    pipeline.start_composed("reliable", **{"qos_overrides./image.subscription.reliability": "reliable"})
    text = pipeline.require_message("offers another reliability", timeout_s=START_S)
    pipeline.stop("reliable")
    pipeline.start_composed("pipeline")
    return Outcome(text, pipeline.recovery_s(RESPAWN_S))


@fault("frames go over UDP", without_shared_memory)
def shared_memory_full(pipeline: TestPipeline) -> Outcome:
    """The pipeline gets no shared-memory segment: DDS must fall back to UDP."""
    sent = pipeline.send_for(3.0)
    pipeline.settle()
    out = pipeline.require_output(sent)
    return Outcome(f"{out} of {len(sent)} frames came out over UDP", pipeline.recovery_s(RECOVER_S))


def _kill(pipeline: TestPipeline, name: str) -> None:
    child = pipeline.children[name]
    os.kill(child.pid, signal.SIGKILL)
    if not pipeline.wait(child.ended, 10.0):
        raise CheckFailed(f"{name} survived SIGKILL")
