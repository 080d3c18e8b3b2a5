"""Water on the glass over DDS: topics, status, trust and confidence, diagnostics."""

import math

import numpy as np
import pytest
import rig
import tiny_model

from ros2_derain import messages
from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.messages import images
from ros2_derain.nodes import outputs

WAYS = [rig.composed, rig.separate]
WARN, ERROR = b"\x01", b"\x02"
WATER = np.s_[:24, :32]
"""Of images of 64 x 96: an eighth of the view, a quarter of the left two thirds of its upper half."""
SURELY = np.s_[:20, :28]
"""The part of it that no interpolation reaches."""


def view(is_wet=True, seed=0):
    """A dark image; what is white is water to the gauge of ``wet_model``."""
    image = rig.noise_image(seed=seed) // 2
    if is_wet:
        image[WATER] = 255
    return image


def ready(active, create, **parameters):
    """A rig whose nodes know each other's topics."""
    made = active(create, **parameters)
    if create is rig.separate:
        rig.connected(made)
        derain = made.derain._publishers_by_topic[outputs.OBSTRUCTION]
        assert made.client.until(lambda: derain.get_subscription_count() == 2)
    return made


def of_frame(made, output, stamp):
    """The frame's message of an output, awaited."""
    found = lambda: [m for m in made.client.got[output.name] if messages.stamp_ns(m.header) == stamp]  # noqa: E731
    assert made.client.until(lambda: found()), (output.name, made.client.status)
    return found()[0]


def values(made, output, stamp):
    """The values of a frame's status."""
    return messages.frame_values(of_frame(made, output, stamp))


@pytest.mark.parametrize("create", WAYS)
def test_obstruction_coverage_and_status_are_published_with_every_frame(active, wet_model, create):
    made = ready(active, create, model=wet_model)
    image = view()
    stamp = made.pass_through(image)
    obstruction = of_frame(made, outputs.OBSTRUCTION, stamp)
    assert (obstruction.encoding, obstruction.header.frame_id) == ("mono8", "camera_optical")
    hidden = images.to_mono(obstruction)
    assert (hidden[SURELY] >= 254).all() and not hidden[30:].any() and not hidden[:, 40:].any()
    assert made.client.last(outputs.GLASS_COVERAGE).data == pytest.approx(1 / 8)
    status = values(made, outputs.DERAIN_STATUS, stamp)
    assert status["mode"] == "loop", "water opens the gate in dry weather"
    assert float(status["glass_coverage"]) == pytest.approx(1 / 8, abs=1e-4)
    assert float(status["contrast_loss"]) < 0.01 and float(status["dirt"]) == 0
    assert float(status["hidden.upper_left"]) == pytest.approx(3 / 4, abs=1e-3)
    assert float(status["hidden.lower_right"]) == 0
    assert (images.to_rgb(of_frame(made, outputs.CLEAN_IMAGE, stamp)) != image).any()


@pytest.mark.parametrize("create", WAYS)
def test_trust_and_confidence_fall_where_water_hides_the_scene(active, wet_model, create):
    made = ready(active, create, model=wet_model, gate_open_coverage=1.0, gate_close_coverage=1.0)
    stamp = made.pass_through(view())
    trust = images.to_mono(of_frame(made, outputs.TRUST, stamp))
    confidence = images.to_mono(of_frame(made, outputs.CONFIDENCE, stamp))
    assert (trust[SURELY] <= 1).all() and (confidence[SURELY] <= 1).all()
    assert (trust[32:] == 255).all() and (confidence[32:] > 40).all()
    settings = EngineSettings(wet_model, "cpu", "float32", gate_open_coverage=1.0)
    offline = Engine.load(settings).process(Frame(stamp, "camera_optical", view()))
    assert (trust == offline.trust).all() and (confidence == offline.perception.confidence).all()
    labels = images.to_mono(of_frame(made, outputs.LABEL_MAP, stamp))[::4, ::4]
    hidden = images.to_mono(of_frame(made, outputs.OBSTRUCTION, stamp))[::4, ::4] > 127
    parsed = values(made, outputs.SEGMENTATION_STATUS, stamp)
    for index, name in enumerate(("sky", "road")):
        if (labels == index).any():
            share = pytest.approx(hidden[labels == index].mean(), abs=1e-3)
            assert float(parsed[f"hidden.{name}"]) == share
            key = f"hidden.{name}"
            assert made.client.until(lambda key=key: key in made.client.values("segmentation_node"))
            assert float(made.client.values("segmentation_node")[key]) == share


@pytest.mark.parametrize("create", WAYS)
def test_without_water_the_image_is_byte_identical_and_the_obstruction_empty(active, wet_model, create):
    made = ready(active, create, model=wet_model)
    image = view(is_wet=False)
    stamp = made.pass_through(image)
    assert (images.to_rgb(of_frame(made, outputs.CLEAN_IMAGE, stamp)) == image).all()
    assert not images.to_mono(of_frame(made, outputs.OBSTRUCTION, stamp)).any()
    assert (images.to_mono(of_frame(made, outputs.TRUST, stamp)) == 255).all()
    assert made.client.last(outputs.GLASS_COVERAGE).data == 0
    made.client.expect(made.client.mode, "dry")


@pytest.mark.parametrize("create", WAYS)
def test_a_model_that_measures_no_water_claims_nothing_about_it(active, tmp_path, create):
    model = tiny_model.write(tmp_path / "old", gauge=("rain_gauge", {"width": 4}))
    made = ready(active, create, model=model)
    stamp = made.pass_through(view())
    assert math.isnan(made.client.last(outputs.GLASS_COVERAGE).data)
    status = values(made, outputs.DERAIN_STATUS, stamp)
    assert status["glass_coverage"] == status["contrast_loss"] == status["dirt"] == "nan"
    assert not [key for key in status if key.startswith("hidden.")]
    assert made.client.count(outputs.OBSTRUCTION) == 0
    assert images.to_mono(of_frame(made, outputs.CONFIDENCE, stamp)).all()
    made.client.expect(lambda: made.client.values("derain_node").get("glass_coverage"), "nan")
    assert "water" not in made.client.message("derain_node")


def test_a_raw_image_has_no_obstruction(active, wet_model):
    made = active(model=wet_model)

    class Broken:
        sees_water = True

        def water(self, image, recent):
            raise RuntimeError("device lost")

    made.derain.engine.restorer._gauge = Broken()
    made.pass_through(view(), out=[outputs.CLEAN_IMAGE, outputs.TRUST])
    assert math.isnan(made.client.last(outputs.GLASS_COVERAGE).data)
    assert made.client.count(outputs.OBSTRUCTION) == 0


def test_diagnostics_warn_and_limits_change_live(active, wet_model):
    made = active(model=wet_model)
    made.pass_through(view())
    text = "12 % of the view is covered by water: wipe the lens"
    assert made.client.until(lambda: text in made.client.message("derain_node"))
    assert made.client.diagnosed("derain_node").level == WARN
    reported = made.client.values("derain_node")
    assert reported["glass_coverage"] == "0.1250" and reported["hidden.upper_left"] == "0.7500"
    assert made.set_parameter(made.derain, "coverage_error", 0.1).successful
    assert made.client.until(lambda: made.client.diagnosed("derain_node").level == ERROR)
    assert made.set_parameter(made.derain, "coverage_warn", 0.5).successful
    assert made.set_parameter(made.derain, "coverage_error", 0.6).successful
    assert made.client.until(lambda: text not in made.client.message("derain_node"))


def test_what_never_moves_while_the_scene_does_is_reported_as_dirt(active, wet_model):
    made = active(model=wet_model, dirt_after_s=2.0)
    for step in range(9):
        made.pass_through(view(seed=step), made.next_header(400), out=[outputs.CLEAN_IMAGE])
    made.client.expect(made.client.mode, "dry")
    text = "12 % of the view is hidden by what does not move: clean the lens of dirt"
    assert made.client.until(lambda: text in made.client.message("derain_node"))
    assert "wipe the lens" not in made.client.message("derain_node")


def test_in_two_processes_a_lost_obstruction_blocks_no_frame(active, wet_model):
    made = ready(active, rig.separate, model=wet_model)
    made.segmentation.unsubscribe(outputs.OBSTRUCTION)
    stamp = made.pass_through(view())
    assert images.to_mono(of_frame(made, outputs.CONFIDENCE, stamp))[SURELY].any()
