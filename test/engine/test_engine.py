"""Frames through the engine: modes, priors, memory, faults, determinism."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain.engine import Engine, EngineError, EngineSettings, Frame, Interpreter, Mode, choose, to_image
from ros2_derain.engine.interpreter import suppress
from ros2_derain.engine.loaded_model import Placement

MS = 10**6


def frames(count: int, height: int = 72, width: int = 100, start_ns: int = 0, seed: int = 0):
    random = np.random.default_rng(seed)
    return [
        Frame(start_ns + 66 * MS * i, "camera", random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for i in range(count)
    ]


def same(first, second) -> bool:
    return (
        (first.image == second.image).all()
        and (first.trust == second.trust).all()
        and (first.perception.labels == second.perception.labels).all()
        and first.perception.detections == second.perception.detections
    )


@pytest.mark.parametrize("prior, iterations", [("closed_loop", 2), ("temporal", 1), ("none", 1)])
def test_a_scene_holds_all_results_of_its_own_frame(rainy_model, prior, iterations):
    engine = Engine.load(EngineSettings(model=rainy_model, prior=prior, iterations=2, score_threshold=0.0))
    for frame in frames(2, 75, 101):
        scene = engine.process(frame)
        assert (scene.stamp_ns, scene.frame_id, scene.fault) == (frame.stamp_ns, "camera", "")
        assert scene.image.shape == (75, 101, 3) and scene.image.dtype == np.uint8
        assert (
            scene.trust.shape
            == scene.perception.labels.shape
            == scene.perception.confidence.shape
            == (75, 101)
        )
        assert scene.perception.labels.max() < 3
        assert (scene.mode, scene.iterations, scene.prior_missed) == (Mode.LOOP, iterations, False)
        assert scene.rain.rate == pytest.approx(100, rel=0.05) and 0 < scene.rain.severity < 1
        assert set(scene.milliseconds) == {"gate", "derain", "parse", "total"}
        for box in scene.perception.detections:
            assert (
                box.class_name in tiny_model.OBJECTS
                and 0 <= box.x0 < box.x1 <= 101
                and 0 <= box.y0 < box.y1 <= 75
            )


def test_a_dry_frame_is_passed_on_untouched_and_parsed(dry_model):
    engine = Engine.load(EngineSettings(model=dry_model))
    frame = frames(1)[0]
    scene = engine.process(frame)
    assert scene.mode is Mode.DRY and scene.image is frame.image and scene.perception is not None
    assert (scene.trust == 255).all() and scene.iterations == 0
    engine.restorer.settings = replace(engine.restorer.settings, gate=False)
    assert engine.process(frames(2)[1]).mode is Mode.LOOP


def test_the_same_frames_give_the_same_scenes(rainy_model):
    first, second = (
        [Engine.load(EngineSettings(model=rainy_model)).process(frame) for frame in frames(3)]
        for _ in range(2)
    )
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("change", ["jump back", "gap", "camera", "resolution"])
def test_memory_is_dropped_where_the_clip_breaks(rainy_model, change):
    before, after = frames(2, seed=1)
    after = {
        "jump back": lambda: replace(after, stamp_ns=-1),
        "gap": lambda: replace(after, stamp_ns=10**10),
        "camera": lambda: replace(after, frame_id="other"),
        "resolution": lambda: replace(after, image=after.image[:70]),
    }[change]()
    engine, fresh = (Engine.load(EngineSettings(model=rainy_model)) for _ in range(2))
    engine.process(before)
    assert same(engine.process(after), fresh.process(after))


def test_memory_is_used_where_the_clip_goes_on(rainy_model):
    before, after = frames(2, seed=1)
    engine, fresh = (Engine.load(EngineSettings(model=rainy_model)) for _ in range(2))
    engine.process(before)
    assert (engine.process(after).image != fresh.process(after).image).any()


class Silence:
    """An exchange from which no prior ever comes in time."""

    def previous(self, stamp_ns):
        return None

    def parse(self, frame, clean):
        return None


@pytest.mark.parametrize("prior", ["closed_loop", "temporal"])
def test_the_loop_goes_on_without_a_late_prior_and_reports_it(rainy_model, prior):
    engine = Engine.load(EngineSettings(model=rainy_model, prior=prior))
    restored = [engine.restore(frame, Silence()) for frame in frames(2)]
    assert restored[1].prior_missed and restored[1].mode is Mode.LOOP and restored[1].fault == ""


def broken(weight: float, tmp_path) -> str:
    """A model whose derainer's head holds one bad weight."""
    derainer = tiny_model.modules(100.0)["derainer"]
    with torch.no_grad():
        derainer.again_head.bias[0] = weight
    return str(tiny_model.write(tmp_path / "broken", 100.0, derainer=derainer))


def test_a_non_finite_output_is_never_published(tmp_path):
    engine = Engine.load(EngineSettings(model=broken(float("nan"), tmp_path), recover_after_s=60))
    scenes = [(frame, engine.process(frame)) for frame in frames(4)]
    first_frame, first = scenes[0]
    assert (
        first.mode is Mode.PASS_THROUGH and first.image is first_frame.image and "not finite" in first.fault
    )
    assert np.isnan(first.rain.rate) and first.perception is None
    assert [scene.mode for _, scene in scenes[2:]] == [Mode.DERAIN_ONLY] * 2, "the coarse half is sound"
    assert all(np.isfinite(scene.image).all() for _, scene in scenes)


def test_a_device_error_passes_the_raw_image_and_recovers(rainy_model):
    engine = Engine.load(EngineSettings(model=rainy_model, recover_after_s=0.2))
    derainer = engine.restorer._derainer

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    clip = iter(frames(30))
    engine.process(next(clip))
    engine.restorer._derainer = SimpleNamespace(takes_prior=True, coarse=out_of_memory, once=out_of_memory)
    failed = [engine.process(next(clip)) for _ in range(2)]
    assert all(s.mode is Mode.PASS_THROUGH and "out of memory" in s.fault for s in failed)
    engine.restorer._derainer = derainer
    modes = [engine.process(frame).mode for frame in clip]
    assert modes[0] is Mode.DERAIN_ONLY and modes[-1] is Mode.LOOP
    assert modes.index(Mode.ONE_ITERATION) > 0


def test_a_parser_that_fails_costs_the_labels_not_the_image(rainy_model):
    engine = Engine.load(EngineSettings(model=rainy_model))

    def failing(_):
        raise RuntimeError("device lost")

    engine.interpreter._parser = failing
    scene = engine.process(frames(1)[0])
    assert scene.perception is None and scene.mode is Mode.DERAIN_ONLY and "device lost" in scene.fault


def test_over_budget_steps_down_and_derain_only_has_no_perception(rainy_model):
    engine = Engine.load(
        EngineSettings(model=rainy_model, max_latency_ms=1e-3, patience=2, recover_after_s=60)
    )
    modes = [engine.process(frame).mode for frame in frames(8)]
    assert (
        modes == [Mode.LOOP] * 2 + [Mode.ONE_ITERATION] * 2 + [Mode.DERAIN_ONLY] * 2 + [Mode.PASS_THROUGH] * 2
    )


def test_warm_up_leaves_no_trace(rainy_model):
    engine, fresh = (Engine.load(EngineSettings(model=rainy_model)) for _ in range(2))
    engine.warm_up(72, 100)
    assert same(engine.process(frames(1)[0]), fresh.process(frames(1)[0]))


@pytest.mark.parametrize(
    "image, text",
    [
        (np.zeros((63, 100, 3), np.uint8), "100x63"),
        (np.zeros((100, 100), np.uint8), "H x W x 3"),
        (np.zeros((100, 100, 3), np.float32), "float32"),
    ],
)
def test_unusable_images_are_named(rainy_model, image, text):
    with pytest.raises(EngineError, match=text):
        Engine.load(EngineSettings(model=rainy_model)).process(Frame(0, "camera", image))


@pytest.mark.parametrize(
    "wrong, text",
    [
        ({"prior": "both"}, "closed_loop"),
        ({"iterations": 6}, "1..5"),
        ({"precision": "int8"}, "bfloat16"),
        ({"runtime": "tvm"}, "'tvm' is not one of auto, torch, openvino, onnxruntime, tensorrt"),
        ({"gate_close_mm_h": 9.0}, "gate_open_mm_h"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"max_latency_ms": -1.0}, "max_latency_ms"),
        ({"recover_after_s": 0.0}, "recover_after_s"),
    ],
)
def test_settings_out_of_range_are_named(wrong, text):
    with pytest.raises(EngineError, match=text):
        EngineSettings(**wrong)


@pytest.mark.parametrize(
    "device, precision, text",
    [
        ("tpu9", "auto", "not one of"),
        ("cuda:99", "auto", "99"),
        ("cpu", "float16", "CUDA"),
    ],
)
def test_impossible_devices_are_named(device, precision, text):
    with pytest.raises(EngineError, match=text):
        choose(device, precision)


def test_precisions_agree(rainy_model):
    """float32 and bfloat16 differ by rounding only."""
    frame = frames(1)[0]
    images = [
        Engine.load(EngineSettings(model=rainy_model, device="cpu", precision=precision)).process(frame).image
        for precision in ("float32", "bfloat16")
    ]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 3


def test_images_survive_the_way_to_the_device_and_back():
    image = frames(1)[0].image
    assert (to_image(Placement(torch.device("cpu"), torch.float32).tensor(image)) == image).all()


def test_suppression_keeps_the_best_of_a_class_and_other_classes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60], [5, 5, 5, 9]], float)
    scores, classes = np.array([0.8, 0.9, 0.7, 0.6, 0.99]), np.array([0, 0, 1, 0, 0])
    assert suppress(boxes, scores, classes, 0.6) == [1, 2, 3]
    assert suppress(boxes, scores, classes, 1.0) == [1, 0, 2, 3]


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_small_images_are_parsed_enlarged(tmp_path, runtime):
    if runtime != "torch":
        pytest.importorskip("onnx")
        pytest.importorskip(runtime)
    network, options = tiny_model.OPTIONS["parser"]
    enlarging = tiny_model.write(tmp_path / "enlarging", parser=(network, {**options, "enlarged_below": 160}))
    as_it_is = tiny_model.write(tmp_path / "as_it_is")
    small = np.random.default_rng(4).integers(0, 256, (70, 98, 3), np.uint8)
    small = cv2.GaussianBlur(small, (0, 0), 3)
    tensor = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    large = torch.nn.functional.interpolate(tensor, size=(105, 147), mode="bilinear")
    settings = {"score_threshold": 0.0, "runtime": runtime, "precision": "float32"}
    enlarges, plain = (
        Interpreter.load(EngineSettings(str(model), **settings)) for model in (enlarging, as_it_is)
    )
    enlarges.warm_up(*small.shape[:2])
    found, expected = enlarges.interpret(small), plain.interpret(large)
    boxes, of_large = (
        np.array([(box.x0, box.y0, box.x1, box.y1) for box in one.perception.detections])
        for one in (found, expected)
    )
    assert len(boxes) > 0
    np.testing.assert_allclose(boxes, of_large / 1.5, atol=0.01)
    labels = found.perception.labels
    assert labels.shape == (70, 98) and found.prior.shape == (3, 9, 13)
    assert (labels == cv2.resize(expected.perception.labels, (98, 70), interpolation=0)).mean() > 0.9
    image = np.zeros((120, 160, 3), np.uint8)
    assert torch.equal(enlarges.probabilities(image), plain.probabilities(image))
