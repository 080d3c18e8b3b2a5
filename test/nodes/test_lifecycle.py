"""Lifecycle of the nodes: models that do not load, every order of transitions, no leftovers."""

import threading

import pytest
import rig

from ros2_derain import models
from ros2_derain.messages import topics
from ros2_derain.nodes import outputs

BOTH = pytest.mark.parametrize("create", [rig.composed, rig.separate])


def configure(made):
    return [made.change(node, "configure") for node in made.nodes]


def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("worker")]


def publishers(made):
    every = (*outputs.OUTPUTS, topics.PROPOSAL)
    return [topic.name for topic in every if made.client.node.count_publishers(topic.name)]


@BOTH
def test_a_missing_model_is_refused_by_name_and_another_can_be_given(make_rig, create, capfd):
    made = make_rig(create, model="./nowhere")
    assert configure(made) == [False, False]
    assert "cannot configure: no model at ./nowhere" in capfd.readouterr().err
    assert made.client.node.count_publishers(outputs.CLEAN_IMAGE.name) == 0
    assert not made.change(made.derain, "activate")
    for node in made.nodes:
        assert made.set_parameter(node, "model", "loopnet").successful
    assert configure(made) == [True, True]


@BOTH
def test_a_corrupted_model_is_refused(make_rig, create, rainy_model, tmp_path, capfd):
    card, modules = models.load(models.find(rainy_model))
    models.save(tmp_path / "damaged", card, modules)
    weights = tmp_path / "damaged" / models.WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    made = make_rig(create, model=str(tmp_path / "damaged"))
    assert configure(made) == [False, False]
    assert "sha256" in capfd.readouterr().err
    assert not made.derain.configured and not made.segmentation.configured


@BOTH
def test_round_trips_leave_nothing_behind(active, create):
    made = active(create)
    for _ in range(2):
        made.pass_through()
        for node in made.nodes:
            assert made.change(node, "deactivate")
        assert workers() == []
        assert made.client.until(lambda: made.client.image.get_subscription_count() == 0)
        for node in made.nodes:
            assert made.change(node, "cleanup")
        assert made.client.until(lambda: not publishers(made))
        made.client.got.clear()
        made.activate()
    made.pass_through()


@BOTH
def test_shutdown_and_destruction_stop_an_active_node(active, create):
    made = active(create)
    made.pass_through()
    assert made.change(made.derain, "shutdown")
    made.stop()
    made.segmentation.destroy_node()
    assert workers() == []
    assert made.client.until(lambda: not publishers(made))


def test_frames_come_only_while_active(make_rig):
    made = make_rig()
    configure(made)
    assert made.client.image.get_subscription_count() == 0
    for node in made.nodes:
        assert made.change(node, "activate")
    assert made.client.until(made.is_connected)
    made.pass_through()
    assert made.change(made.derain, "deactivate")
    made.send()
    assert not made.client.until(lambda: made.client.count(outputs.CLEAN_IMAGE) > 1, timeout_s=0.3)


def test_frames_that_wait_at_deactivation_are_counted(active):
    made = active(prior="closed_loop", iterations=5)
    for sent in (1, 2, 3):
        made.send(rig.noise_image(360, 640))
        assert made.client.until(lambda sent=sent: made.derain.statistics.snapshot().received == sent)
    assert made.change(made.derain, "deactivate")
    assert made.is_accounted_for(made.derain) and made.is_accounted_for(made.segmentation)
    assert made.client.until(lambda: "inactive" in made.client.message("derain_node"))
    values = made.client.values("derain_node")
    dropped = sum(int(v) for k, v in values.items() if k.startswith("dropped."))
    assert int(values["frames_received"]) == int(values["frames_published"]) + dropped


def test_activation_starts_new_counters(active):
    made = active()
    made.pass_through()
    assert made.change(made.derain, "deactivate") and made.change(made.derain, "activate")
    assert made.derain.statistics.snapshot().received == 0
