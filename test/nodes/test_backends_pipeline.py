"""A paper's network as ``model`` of the composed pipeline."""

import pytest
import rig
import tiny_model

from ros2_derain.messages import images
from ros2_derain.nodes import outputs


@pytest.mark.parametrize("network", ["danet", "ubcn"])
def test_the_pipeline_runs_another_network_by_its_model_folder(active, tmp_path, network):
    folder = tiny_model.write(tmp_path / network, network=network)
    made = active(model=str(folder))
    sent = rig.noise_image(71, 101)
    for _ in range(2):
        made.pass_through(sent)
    clean = images.to_rgb(made.client.last(outputs.CLEAN_IMAGE))
    assert clean.shape == sent.shape and (clean != sent).any()
    made.client.expect(made.client.mode, "loop")
    assert made.derain.identity.name == network


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("create", [rig.composed, rig.separate], ids=["composed", "separate"])
def test_the_pipeline_runs_by_another_runtime_and_says_so(active, runtime, create):
    pytest.importorskip(runtime)
    made = active(create, runtime=runtime)
    for _ in range(2):
        made.pass_through()
    made.client.expect(made.client.mode, "loop")
    assert made.client.last(outputs.VISION_INFO).method.endswith(f" runtime:{runtime}")
    for node in made.nodes:
        made.client.expect(lambda node=node: made.client.values(node.get_name()).get("runtime"), runtime)


def test_a_runtime_that_cannot_serve_leaves_the_node_unconfigured(make_rig, capfd):
    pytest.importorskip("onnxruntime")
    made = make_rig(runtime="tensorrt")
    assert not made.change(made.derain, "configure") and not made.derain.configured
    assert "cannot configure: runtime tensorrt needs a CUDA device" in capfd.readouterr().err
    refused = made.set_parameter(made.derain, "runtime", "tvm")
    assert not refused.successful and "openvino" in refused.reason
    assert made.set_parameter(made.derain, "runtime", "torch").successful
    assert made.change(made.derain, "configure")
