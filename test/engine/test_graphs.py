"""Compiled graphs: what they compute, what they refuse, and what is kept of them on disk."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny_model
import torch

from ros2_derain import networks
from ros2_derain.engine.backends import Cache, GraphError, compile_graph
from ros2_derain.networks import onnx_export

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def loopnet() -> torch.nn.Module:
    torch.manual_seed(0)
    network, options = tiny_model.OPTIONS["derainer"]
    return networks.create(network, **options).eval()


@pytest.fixture(scope="module")
def once(loopnet, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "once.onnx"
    path.write_bytes(onnx_export.export(loopnet, "once"))
    return path


@pytest.fixture(params=["openvino", "onnxruntime"])
def runtime(request) -> str:
    pytest.importorskip(request.param)
    return request.param


def shapes(inputs: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in inputs.items()}


@pytest.mark.parametrize("is_fixed", [True, False])
def test_a_graph_computes_what_the_network_does(loopnet, once, runtime, is_fixed):
    inputs = onnx_export.example(loopnet, "once", 75, 101)
    graph = compile_graph(once, runtime, shapes=shapes(inputs) if is_fixed else None)
    with torch.no_grad():
        expected = onnx_export.outputs(loopnet, "once", inputs)
    assert {port.name for port in graph.inputs} == set(inputs)
    assert [port.name for port in graph.outputs] == list(expected)
    for _ in range(2):
        found = graph(inputs)
        for name, tensor in expected.items():
            assert found[name].shape == tensor.shape and (found[name] - tensor).abs().max() < 1e-4


def test_outputs_stay_when_the_graph_is_called_again(loopnet, once, runtime):
    inputs = onnx_export.example(loopnet, "once", 64, 80)
    graph = compile_graph(once, runtime, shapes=shapes(inputs))
    graph(inputs)
    first = graph(inputs)
    kept = {name: tensor.clone() for name, tensor in first.items()}
    graph({**inputs, "rain": 1 - inputs["rain"]})
    assert all(torch.equal(first[name], kept[name]) for name in kept)


def test_inputs_of_any_memory_layout_and_number_format_are_taken(loopnet, once, runtime):
    inputs = onnx_export.example(loopnet, "once", 64, 80)
    graph = compile_graph(once, runtime, shapes=shapes(inputs))
    expected = graph(inputs)
    other = {
        "rain": inputs["rain"].contiguous(memory_format=torch.channels_last),
        "state": inputs["state"].half(),
        "prior": inputs["prior"].double(),
        "unknown": inputs["rain"],
    }
    found = graph(other)
    assert all((found[name] - expected[name]).abs().max() < 1e-5 for name in expected)


def test_a_state_stays_in_the_number_format_of_the_computation(loopnet, once, tmp_path):
    """From frame to frame, also by a graph that comes from the cache."""
    pytest.importorskip("openvino")
    inputs = onnx_export.example(loopnet, "once", 64, 80)
    exact = compile_graph(once, "openvino", shapes=shapes(inputs))
    expected = exact({**inputs, "state": exact(inputs)["next_state"]})
    internal, cache = ("state", "next_state"), Cache(tmp_path)
    for _ in range(2):
        graph = compile_graph(
            once, "openvino", precision="bfloat16", cache=cache, shapes=shapes(inputs), internal=internal
        )
        state = graph(inputs)["next_state"]
        assert state.dtype == torch.bfloat16 and state.shape == inputs["state"].shape
        found = graph({**inputs, "state": state})
        for name in expected:
            assert (found[name].float() - expected[name]).abs().max() < 0.02


def test_threads_share_a_graph(loopnet, once, runtime):
    inputs = onnx_export.example(loopnet, "once", 64, 80)
    graph = compile_graph(once, runtime, shapes=shapes(inputs), streams=2)
    images = [torch.full_like(inputs["rain"], value) for value in (0.2, 0.8)]
    expected = [graph({**inputs, "rain": image})["image"] for image in images]
    wrong = []

    def call(index: int) -> None:
        for _ in range(20):
            found = graph({**inputs, "rain": images[index]})["image"]
            if not torch.equal(found, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_ctrl_c_is_no_crash_after_graphs_are_gone(once, runtime):
    """As when a node is cleaned up, or configured anew, before."""
    code = (
        "import signal, sys, time; from pathlib import Path; "
        "from ros2_derain.engine.backends import compile_graph\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "graphs = [compile_graph(Path(sys.argv[1]), sys.argv[2]) for _ in range(2)]\n"
        "while graphs: graphs.pop(0)\n"
        "signal.raise_signal(signal.SIGINT); time.sleep(10)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, once, runtime]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == -signal.SIGINT and "KeyboardInterrupt" in run.stderr


def test_a_missing_input_and_a_wrong_shape_are_named(loopnet, once, runtime):
    inputs = onnx_export.example(loopnet, "once", 64, 80)
    graph = compile_graph(once, runtime)
    with pytest.raises(GraphError, match="inputs state are missing"):
        graph({name: tensor for name, tensor in inputs.items() if name != "state"})
    with pytest.raises(GraphError, match="fails: "):
        graph({**inputs, "state": inputs["state"][..., :-3]})


@pytest.mark.parametrize("content", [b"", b"no ONNX at all", b"\x08\x0a" * 50])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, runtime, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"cannot .* ONNX graph .*bad\.onnx: \S"):
        compile_graph(path, runtime)
    with pytest.raises(GraphError, match="cannot be read: No such file"):
        compile_graph(tmp_path / "none.onnx", runtime)


def test_an_operator_that_the_runtime_lacks_is_named(tmp_path, runtime):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    node = helper.make_node("Levitate", ["x"], ["y"], domain="custom")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    model = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:]), opset_imports=opsets)
    model.ir_version = 8
    onnx.save(model, tmp_path / "custom.onnx")
    with pytest.raises(GraphError, match="Levitate"):
        compile_graph(tmp_path / "custom.onnx", runtime)


@pytest.mark.parametrize(
    "runtime, device, precision, text",
    [
        ("openvino", "cuda", "float32", "runtime openvino runs on the CPU, not on cuda"),
        ("openvino", "cpu", "float16", "not in float16"),
        ("tensorrt", "cpu", "float32", "runtime tensorrt needs a CUDA device"),
        ("onnxruntime", "cuda", "float32", "CUDAExecutionProvider, which this ONNX Runtime lacks"),
        ("tvm", "cpu", "float32", "'tvm' compiles no graphs: use one of openvino, onnxruntime, tensorrt"),
    ],
)
def test_what_a_runtime_cannot_do_is_said(once, runtime, device, precision, text):
    if runtime != "tvm":
        pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    with pytest.raises(GraphError, match=text):
        compile_graph(once, runtime, device, precision)


@pytest.mark.parametrize("package, runtime", [("openvino", "openvino"), ("onnxruntime", "tensorrt")])
def test_a_runtime_that_is_not_installed_names_the_extra(package, runtime):
    """In a process that cannot import it."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; "
        f"from ros2_derain.engine.backends import compile_graph; compile_graph(b'', {runtime!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert f"pip install 'ros2_derain[{package}]'" in run.stderr.splitlines()[-1], run.stderr


class TestCache:
    """What is kept of compiled graphs."""

    @pytest.fixture
    def cache(self, tmp_path) -> Cache:
        return Cache(tmp_path / "cache")

    @pytest.fixture
    def compiled(self, once, loopnet, cache, caplog):
        """Compiles with the cache; returns the files of it and the lines that were logged."""
        pytest.importorskip("openvino")
        inputs = onnx_export.example(loopnet, "once", 64, 80)
        expected = compile_graph(once, "openvino", shapes=shapes(inputs))(inputs)

        def compile_():
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                found = compile_graph(once, "openvino", cache=cache, shapes=shapes(inputs))(inputs)
            assert all((found[name] - expected[name]).abs().max() < 1e-5 for name in expected)
            return sorted(cache.folder.glob("*")), [record.getMessage() for record in caplog.records]

        return compile_

    def test_a_second_start_uses_what_the_first_one_made(self, compiled):
        (path,), lines = compiled()
        assert lines == []
        made = path.stat().st_mtime_ns, path.stat().st_ino
        assert compiled() == ([path], [])
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == made

    @pytest.mark.parametrize("damage", ["empty", "short", "flipped", "text"])
    def test_a_damaged_file_is_made_again_with_one_line(self, compiled, damage):
        (path,), _ = compiled()
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 255
        path.write_bytes({"empty": b"", "short": whole[:-9], "flipped": flipped, "text": b"hello"}[damage])
        _, lines = compiled()
        assert len(lines) == 1 and "is made again" in lines[0] and "damaged" in lines[0]
        assert compiled()[1] == [] and path.stat().st_size == len(whole)

    @pytest.mark.parametrize(
        "old, new, reason",
        [
            (b'"openvino": "', b'"openvino": "1999.', "another version"),
            (b'"machine": "', b'"machine": "Z80 ', "Z80"),
        ],
    )
    def test_a_file_of_another_machine_or_version_is_made_again(self, compiled, old, new, reason):
        (path,), _ = compiled()
        path.write_bytes(path.read_bytes().replace(old, new, 1))
        _, lines = compiled()
        assert len(lines) == 1 and reason in lines[0]
        assert compiled()[1] == []

    def test_a_folder_that_cannot_be_made_costs_one_line(self, tmp_path, compiled, cache):
        (tmp_path / "cache").write_text("a file, not a folder")
        _, lines = compiled()
        assert len(lines) == 1 and "ROS2_DERAIN_CACHE" in lines[0]
        assert compiled()[1] == []

    def test_the_folder_follows_the_environment(self, monkeypatch, tmp_path):
        monkeypatch.delenv("ROS2_DERAIN_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert Cache().folder == tmp_path / "ros2_derain"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert Cache().folder == Path.home() / ".cache/ros2_derain"
        monkeypatch.setenv("ROS2_DERAIN_CACHE", str(tmp_path / "mine"))
        assert Cache().folder == tmp_path / "mine"
