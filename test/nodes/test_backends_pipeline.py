"""A paper's network as ``model`` of the composed pipeline."""

import pytest
import rig
import tiny_model

from ros2_derain.nodes import images, outputs


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
