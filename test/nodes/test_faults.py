"""Networks that fail: images are still published and marked, and diagnostics, mode and log report why."""

import pytest
import rig
import tiny_model

from ros2_derain.messages import images
from ros2_derain.nodes import outputs

CLEAN = [outputs.CLEAN_IMAGE]


@pytest.mark.parametrize("create", [rig.composed, rig.separate])
def test_a_derainer_that_fails_passes_the_raw_image_through(active, create):
    made = active(create)
    rig.broken(made.derain.engine.restorer._derainer)
    image = rig.noise_image()
    for _ in range(2):
        made.pass_through(image, out=CLEAN)
        assert (images.to_rgb(made.client.last(outputs.CLEAN_IMAGE)) == image).all()
    made.client.expect(made.client.mode, "pass_through")
    text = "unprocessed: RuntimeError: the derainer's output"
    assert made.client.until(lambda: text in made.client.message("derain_node"))
    assert made.client.diagnosed("derain_node").level == b"\x02"


def test_a_parser_that_fails_steps_the_ladder_down_and_costs_no_image(active, capfd):
    made = rig.with_failing_parser(active())
    for _ in range(3):
        made.pass_through(out=CLEAN)
    made.client.expect(made.client.mode, "derain_only")
    parser = made.segmentation.statistics
    made.client.expect(lambda: parser.snapshot().dropped, {"error": 2, "mode.derain_only": 1})
    assert parser.snapshot().published == 0
    assert made.counters().published == 3
    assert made.client.until(lambda: "mode is derain_only" in made.client.message("derain_node"))
    assert "the parser's class probabilities are not finite" in made.client.message("derain_node")
    assert capfd.readouterr().err.count("segmentation_node failed") == 1


def test_a_parser_in_another_process_that_fails_is_counted(active):
    made = rig.with_failing_parser(active(rig.separate, prior_timeout_ms=50.0))
    made.pass_through(out=CLEAN)

    def counted():  # the two nodes may not have discovered each other at the first frames
        made.pass_through(out=CLEAN)
        return made.client.counted("segmentation_node", "dropped.error")

    assert made.client.until(counted)
    assert made.client.until(lambda: made.client.counted("derain_node", "priors_missed"))
    made.pass_through(out=CLEAN)


def test_frames_over_budget_step_down_and_are_reported(active, capfd):
    made = active(max_latency_ms=0.01, patience=1)
    for _ in range(4):
        made.pass_through(out=CLEAN)
    made.client.expect(made.client.modes, ["loop", "one_iteration", "derain_only", "pass_through"])
    assert "mode: loop -> one_iteration: frames took longer than 0.01 ms" in capfd.readouterr().err


def test_after_a_fault_every_step_up_the_ladder_is_published(active, capfd):
    made = active(max_latency_ms=0.01, patience=1, recover_after_s=0.01)
    for _ in range(4):
        made.pass_through(out=CLEAN)
    assert made.set_parameter(made.derain, "max_latency_ms", 0.0).successful
    for _ in range(6):
        made.pass_through(out=CLEAN)
    steps = ["pass_through", "derain_only", "one_iteration", "loop"]
    made.client.expect(lambda: made.client.modes()[-4:], steps)
    assert made.counters().dropped == {}
    log = capfd.readouterr()
    assert "mode: one_iteration -> loop: no fault and no delay for 0.01 s" in log.out + log.err


def test_a_network_that_fails_at_warm_up_is_refused(make_rig, tmp_path, capfd):
    parser = rig.broken(tiny_model.modules(100.0)["parser"])
    made = make_rig(model=tiny_model.write(tmp_path / "broken", parser=parser))
    assert not made.change(made.segmentation, "configure")
    assert not made.segmentation.configured
    assert "fails at its warm-up: the parser's class probabilities are not finite" in capfd.readouterr().err
