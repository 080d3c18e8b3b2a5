"""Every runtime, and every paper's network as the derainer of a model folder, through the engine."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model
import torch

from ros2_derain import models
from ros2_derain.engine import Engine, EngineError, EngineSettings, Frame, Mode
from ros2_derain.networks import prior_from_logits


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
@pytest.mark.parametrize("network", tiny_model.PAPERS)
def test_a_model_folder_of_a_paper_restores_and_parses(tmp_path, network, prior):
    folder = tiny_model.write(tmp_path / "model", network=network)
    engine = Engine.load(
        EngineSettings(model=str(folder), device="cpu", precision="float32", prior=prior, runtime="torch")
    )
    engine.warm_up(75, 101)
    derainer = models.load(folder)[1]["derainer"]
    for stamp, size in enumerate([(75, 101), (75, 101), (64, 97)]):
        frame = Frame(stamp, "camera", noise(*size))
        scene = engine.process(frame)
        assert (scene.mode, scene.fault, scene.prior_missed) == (Mode.LOOP, "", False)
        assert scene.image.shape == (*size, 3) and not np.array_equal(scene.image, frame.image)
        assert scene.perception.labels.shape == scene.trust.shape == size
        unchanged = (scene.image == frame.image).all(2)
        assert scene.trust[~unchanged].mean() < scene.trust[unchanged].mean() if unchanged.any() else True
        if network != "ubcn":
            assert scene.iterations == 0, "nothing is parsed for a network that takes no prior"
            with torch.no_grad():
                image = derainer(torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255).image
            expected = image[0].permute(1, 2, 0).clamp(0, 1).mul(255).numpy()
            assert np.abs(scene.image - expected).max() <= 1


def test_ubcn_s_iterations_in_the_engine_are_the_papers(tmp_path):
    """C~ is parsed, SAM refines it with that, and the next C~ is made from the result."""
    folder = tiny_model.write(tmp_path / "model", network="ubcn")
    settings = EngineSettings(
        model=str(folder), device="cpu", precision="float32", prior="closed_loop", iterations=3
    )
    frame = Frame(0, "camera", noise(64, 80))
    scene = Engine.load(settings).process(frame)
    _, parts = models.load(folder)
    rain = torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255
    refined = rain
    with torch.no_grad():
        for _ in range(3):
            coarse = parts["derainer"].bottom_up(rain, refined)
            prior = prior_from_logits(parts["parser"](coarse.clamp(0, 1)).logits)
            refined = parts["derainer"].top_down(rain, coarse, prior)
    expected = refined[0].permute(1, 2, 0).clamp(0, 1).mul(255).numpy()
    assert scene.iterations == 3 and np.abs(scene.image - expected).max() <= 1


def test_a_dry_frame_stays_as_it_is_whatever_the_network(tmp_path):
    """The gauge is a part of the model folder of its own: no derainer decides on the gate."""
    folder = tiny_model.write(tmp_path / "dry", reads_mm_h=0.0, network="sapnet")
    frame = Frame(0, "camera", noise(64, 80))
    scene = Engine.load(EngineSettings(model=str(folder))).process(frame)
    assert scene.mode is Mode.DRY and scene.image is frame.image


def test_a_parser_without_objects_gives_labels_and_no_boxes(tmp_path):
    classes = len(tiny_model.CLASSES)
    options = {"classes": classes, "name": "light"}
    folder = tiny_model.write(tmp_path / "model", network="ubcn", parser=("ubcn_segmenter", options))
    settings = EngineSettings(model=str(folder), device="cpu", prior="closed_loop", score_threshold=0.0)
    scene = Engine.load(settings).process(Frame(0, "camera", noise(70, 90)))
    assert scene.perception.labels.shape == (70, 90) and scene.perception.detections == ()


@pytest.fixture(params=["openvino", "onnxruntime"])
def runtime(request) -> str:
    return pytest.importorskip(request.param).__name__


def clip(count: int, height: int = 75, width: int = 101) -> list[Frame]:
    """Frames that change a little from one to the next; the third is late, and from another camera."""
    base = noise(height, width).astype(int)
    change = np.random.default_rng(1).integers(-20, 20, (count, height, width, 3))
    images = (base + change).clip(0, 255).astype(np.uint8)
    return [Frame(40_000_000 * (i + 50 * (i > 2)), "camera", image) for i, image in enumerate(images)]


def compare(scenes: list, expected: list) -> None:
    """Equal but for rounding."""
    for scene, other in zip(scenes, expected, strict=True):
        assert (scene.mode, scene.iterations, scene.prior_missed, scene.fault) == (
            other.mode,
            other.iterations,
            other.prior_missed,
            "",
        )
        assert np.abs(scene.image.astype(int) - other.image).max() <= 1
        assert np.abs(scene.trust.astype(int) - other.trust).max() <= 1
        assert scene.rain.rate == pytest.approx(other.rain.rate, rel=1e-3)
        assert (scene.perception.labels == other.perception.labels).mean() > 0.999
        assert np.abs(scene.prior.astype(int) - other.prior).max() <= 1
        for box, same in zip(scene.perception.detections, other.perception.detections, strict=True):
            assert box.class_name == same.class_name and box.score == pytest.approx(same.score, abs=1e-3)


@pytest.mark.parametrize("network", ["loopnet", "ubcn", "danet"])
@pytest.mark.parametrize("prior", ["temporal", "closed_loop", "none"])
def test_every_runtime_gives_the_same_scenes(tmp_path, network, prior, runtime):
    folder = tiny_model.write(tmp_path / "model", network=network)
    settings = {"model": str(folder), "device": "cpu", "precision": "float32", "prior": prior}
    frames = clip(5)
    scenes = {}
    for name in ("torch", runtime):
        engine = Engine.load(EngineSettings(runtime=name, iterations=2, **settings))
        engine.warm_up(75, 101)
        assert engine.identity.runtime == name
        scenes[name] = [engine.process(frame) for frame in frames]
    compare(scenes[runtime], scenes["torch"])


def test_a_runtime_is_deterministic_with_and_without_warm_up(rainy_model, runtime):
    """At the size of the warm-up and at another one."""
    settings = EngineSettings(model=rainy_model, device="cpu", runtime=runtime)
    warm, cold = Engine.load(settings), Engine.load(settings)
    warm.warm_up(75, 101)
    for frame in (*clip(3), *clip(3, 64, 80)):
        first, second = warm.process(frame), cold.process(frame)
        assert np.array_equal(first.image, second.image) and np.array_equal(first.trust, second.trust)
        assert np.array_equal(first.perception.labels, second.perception.labels)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_rain_rate_depends_neither_on_the_precision_nor_on_the_number_of_threads(rainy_model, runtime):
    if runtime != "torch":
        pytest.importorskip(runtime)
    rates, threads = set(), torch.get_num_threads()
    for precision in ("float32", "bfloat16"):
        settings = EngineSettings(model=rainy_model, device="cpu", runtime=runtime, precision=precision)
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            try:
                rates.add(Engine.load(settings).process(clip(1)[0]).rain.rate)
            finally:
                torch.set_num_threads(threads)
    assert len(rates) == 1


def test_a_frame_of_another_size_than_that_of_the_warm_up_is_processed_and_said(rainy_model, caplog):
    pytest.importorskip("openvino")
    engine = Engine.load(EngineSettings(model=rainy_model, device="cpu", runtime="openvino"))
    engine.warm_up(75, 101)
    with caplog.at_level(logging.WARNING):
        assert [scene.mode for scene in map(engine.process, clip(2))] == [Mode.LOOP] * 2
        assert caplog.records == []
        for size in [(64 + 2 * i, 90) for i in range(8)] * 2:
            scene = engine.process(Frame(0, "camera", noise(*size)))
            assert scene.fault == "" and scene.image.shape[:2] == size
    assert "90x64" in caplog.text and "warm up at it" in caplog.text


def test_a_derainer_that_fails_in_a_graph_steps_down_and_recovers(tmp_path, runtime):
    """Not finite when refined: the coarse half is sound, and the raw image is published first."""
    derainer = tiny_model.modules(100.0)["derainer"]
    torch.nn.init.constant_(derainer.again_head.bias, torch.nan)
    folder = tiny_model.write(tmp_path / "nan", derainer=derainer)
    engine = Engine.load(EngineSettings(model=str(folder), device="cpu", runtime=runtime))
    scenes = [engine.process(frame) for frame in clip(4)]
    assert scenes[0].mode is Mode.PASS_THROUGH and "not finite" in scenes[0].fault
    assert scenes[-1].mode is Mode.DERAIN_ONLY and scenes[-1].fault == ""


def test_a_parser_that_is_not_finite_in_a_graph_costs_the_labels_alone(tmp_path, runtime):
    parser = tiny_model.modules(100.0)["parser"]
    torch.nn.init.constant_(parser.classify.bias, torch.nan)
    folder = tiny_model.write(tmp_path / "nan", parser=parser)
    engine = Engine.load(EngineSettings(model=str(folder), device="cpu", runtime=runtime))
    scene = engine.process(clip(1)[0])
    assert scene.perception is None and "not finite" in scene.fault and scene.mode is Mode.DERAIN_ONLY


def test_a_dry_frame_stays_as_it_is_whatever_the_runtime(dry_model, runtime):
    frame = clip(1)[0]
    scene = Engine.load(EngineSettings(model=dry_model, device="cpu", runtime=runtime)).process(frame)
    assert scene.mode is Mode.DRY and scene.image is frame.image and scene.perception is not None


@pytest.mark.parametrize(
    "runtime, precision, text",
    [
        ("openvino", "float16", "float16 is for CUDA devices"),
        ("onnxruntime", "bfloat16", "onnxruntime computes in float32"),
        ("tensorrt", "auto", "tensorrt needs a CUDA device"),
    ],
)
def test_a_runtime_that_cannot_serve_says_so_at_configure(rainy_model, runtime, precision, text):
    pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    settings = EngineSettings(model=rainy_model, device="cpu", runtime=runtime, precision=precision)
    with pytest.raises(EngineError, match=text):
        Engine.load(settings).warm_up(64, 80)


def test_auto_takes_torch_where_openvino_is_missing(rainy_model):
    """In a process that cannot import it."""
    code = (
        "import sys; sys.modules['openvino'] = None; "
        "from ros2_derain.engine import EngineSettings, LoadedModel; "
        "print(LoadedModel.load(EngineSettings(model=sys.argv[1], device='cpu')).identity.runtime); "
        "LoadedModel.load(EngineSettings(model=sys.argv[1], device='cpu', runtime='openvino'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, rainy_model]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.stdout == "torch\n"
    assert "pip install 'ros2_derain[openvino]'" in run.stderr.splitlines()[-1]
