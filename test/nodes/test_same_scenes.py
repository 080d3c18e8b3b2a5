"""Composed, in two processes and offline, the same frames give the same scenes, faults included."""

import numpy as np
import pytest
import rig
import torch

from ros2_derain import messages
from ros2_derain.engine import Engine, EngineSettings, Frame, Mode
from ros2_derain.messages import images
from ros2_derain.nodes import outputs

FRAMES = 6
FAILING = 2
"""This frame meets a parser that fails."""


class FailsOnDemand:
    """A parser whose next results are not finite while ``fails`` is set."""

    def __init__(self, parser):
        self.parser, self.fails = parser, False

    def __call__(self, image):
        parse = self.parser(image)
        if not self.fails:
            return parse
        return parse._replace(logits=torch.full_like(parse.logits, torch.nan))


def failing_parser(interpreter):
    """The interpreter's parser, made to fail on demand."""
    interpreter._parser = FailsOnDemand(interpreter._parser)
    return interpreter._parser


def sent_images():
    """The frames of a drive: the same scene, a little brighter from frame to frame."""
    base = rig.noise_image(72, 104, seed=3) // 2
    return [base + np.uint8(4 * index) for index in range(FRAMES)]


def told_by_status(message):
    """What a frame's status says, without what differs between 8 bits and float."""
    (status,) = message.status
    values = {pair.key: pair.value for pair in status.values}
    return status.level, status.message, values.get("mode"), values.get("prior_missed")


def live(made, settle):
    """What a live pipeline publishes of every frame."""
    parser = failing_parser(made.segmentation.interpreter)
    found = []
    for index, image in enumerate(sent_images()):
        parser.fails = index == FAILING
        failed = parser.fails
        stamp = made.send(image)
        is_done = lambda stamp=stamp: stamp in made.client.stamps(outputs.SEGMENTATION_STATUS)  # noqa: E731
        assert made.client.until(is_done), made.client.status
        settle(made, failed)
        found.append(published(made, stamp))
    modes = [message.data for message in made.client.got[outputs.MODE.name]]
    return found, modes


def published(made, stamp):
    """The messages of a frame, as arrays and records."""

    def of(output):
        messages_ = made.client.got[output.name]
        return next((m for m in messages_ if messages.stamp_ns(m.header) == stamp), None)

    assert made.client.until(lambda: of(outputs.CLEAN_IMAGE) is not None)
    labels = of(outputs.LABEL_MAP)
    if labels is not None:
        expected = (outputs.CONFIDENCE, outputs.DETECTIONS, outputs.SEMANTIC_PRIOR)
        assert made.client.until(lambda: all(of(output) is not None for output in expected))
    assert made.client.until(lambda: of(outputs.DERAIN_STATUS) is not None)
    return {
        "image": images.to_rgb(of(outputs.CLEAN_IMAGE)),
        "trust": images.to_mono(of(outputs.TRUST)),
        "labels": None if labels is None else images.to_mono(labels),
        "confidence": None if labels is None else images.to_mono(of(outputs.CONFIDENCE)),
        "prior": None if labels is None else images.to_channels(of(outputs.SEMANTIC_PRIOR)),
        "boxes": None if labels is None else of(outputs.DETECTIONS).detections,
        "derain": told_by_status(of(outputs.DERAIN_STATUS)),
        "segmentation": told_by_status(of(outputs.SEGMENTATION_STATUS)),
    }


def offline(model, stamps):
    """The same of the engine: the messages of the outputs' list, and the modes in their order."""
    engine = Engine.load(
        EngineSettings(
            model=str(model), device="cpu", precision="float32", runtime="torch", score_threshold=0.0
        )
    )
    parser = failing_parser(engine.interpreter)
    found, modes = [], ["loop"]
    for index, (stamp, image) in enumerate(zip(stamps, sent_images(), strict=True)):
        parser.fails = index == FAILING
        scene = engine.process(Frame(stamp, "camera_optical", image))
        for mode in (scene.derain_mode.value, scene.mode.value):
            if mode != modes[-1]:
                modes.append(mode)
        context = outputs.Context(messages.to_header(stamp, "camera_optical"), engine.identity)
        seen = scene.perception
        found.append(
            {
                "image": scene.image,
                "trust": scene.trust,
                "labels": seen and seen.labels,
                "confidence": seen and seen.confidence,
                "prior": scene.prior,
                "boxes": seen and outputs.DETECTIONS.make(scene, context).detections,
                "derain": told_by_status(outputs.DERAIN_STATUS.make(scene, context)),
                "segmentation": told_by_status(outputs.SEGMENTATION_STATUS.make(scene, context)),
                "mode": scene.mode,
            }
        )
    return found, modes


def nothing(made, failed):
    """The composed pipeline is done with a frame when its last status is out."""


def failure_has_arrived(made, failed):
    """derain_node in a process of its own has learnt of the parser's failure."""
    if failed:
        is_announced = lambda: made.client.last(outputs.MODE).data == "derain_only"  # noqa: E731
        assert made.client.until(is_announced)


ARRAYS = ("image", "trust", "labels", "confidence", "prior")


def run(made, settle):
    found, modes = live(made, settle)
    stamps = made.client.stamps(outputs.CLEAN_IMAGE)
    return found, modes, stamps


def test_composed_and_offline_give_the_same_scenes_byte_for_byte(active, rainy_model):
    found, modes, stamps = run(active(score_threshold=0.0), nothing)
    expected, expected_modes = offline(rainy_model, stamps)
    assert modes == expected_modes
    for index, (frame, scene) in enumerate(zip(found, expected, strict=True)):
        for key in ARRAYS:
            assert np.array_equal(frame[key], scene[key]), (index, key)
        for key in ("boxes", "derain", "segmentation"):
            assert frame[key] == scene[key], (index, key)
    assert expected[FAILING]["mode"] is Mode.DERAIN_ONLY and expected[FAILING]["labels"] is None


def test_two_processes_give_the_same_scenes_but_for_the_image_s_8_bits(active, rainy_model):
    made = active(rig.separate, score_threshold=0.0, prior_timeout_ms=10000.0)
    rig.connected(made)
    found, modes, stamps = run(made, failure_has_arrived)
    expected, expected_modes = offline(rainy_model, stamps)
    assert modes == expected_modes
    for index, (frame, scene) in enumerate(zip(found, expected, strict=True)):
        for key in ("derain", "segmentation"):
            assert frame[key] == scene[key], (index, key)
        assert np.abs(frame["image"].astype(int) - scene["image"]).max() <= 2
        assert (frame["labels"] is None) == (scene["labels"] is None)
        if scene["labels"] is not None:
            assert (frame["labels"] == scene["labels"]).mean() > 0.99


@pytest.mark.parametrize("create", [rig.composed, rig.separate])
def test_dry_frames_are_the_same_byte_for_byte_in_every_way_to_run(active, dry_model, create):
    made = active(create, model=dry_model, score_threshold=0.0)
    settle = lambda made, failed: None  # noqa: E731
    found, modes, stamps = run(made, settle)
    expected, expected_modes = offline(dry_model, stamps)
    assert modes == expected_modes
    for index, (frame, scene) in enumerate(zip(found, expected, strict=True)):
        for key in ARRAYS:
            assert np.array_equal(frame[key], scene[key]), (index, key)
        assert frame["segmentation"] == scene["segmentation"]
