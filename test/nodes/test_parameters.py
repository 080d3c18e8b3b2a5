"""Parameters: one source for descriptors, YAML and table; live changes taken or refused."""

import subprocess
import sys
from dataclasses import fields

import pytest
import rig
import yaml
from limits import HANG_S
from rcl_interfaces.srv import DescribeParameters
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter

from ros2_derain import resources
from ros2_derain.engine import EngineError, EngineSettings
from ros2_derain.nodes import parameter_files, parameters
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.parameters import DerainParameters, ParameterError, SegmentationParameters


def test_the_shipped_file_is_the_generated_one():
    shipped = resources.path("config/pipeline.yaml").read_text()
    assert shipped == parameter_files.to_yaml(), "write it: python -m ros2_derain.nodes.parameter_files"


def test_the_shipped_file_holds_every_default():
    shipped = yaml.safe_load(parameter_files.to_yaml())
    for node, kind in parameters.NODES.items():
        assert kind(**shipped[f"/**/{node}"]["ros__parameters"]) == kind()


def test_every_setting_of_the_engine_is_a_parameter_with_its_default():
    names = {item.name for kind in parameters.NODES.values() for item in fields(kind)}
    assert {item.name for item in fields(EngineSettings)} <= names
    for kind in (DerainParameters, SegmentationParameters):
        assert parameters.engine_settings(kind()) == EngineSettings()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("prior", "psychic", "prior is 'psychic'; it must be one of closed_loop, temporal, none"),
        ("iterations", 9, "iterations is 9; it must be from 1 to 5"),
        ("prior_timeout_ms", float("nan"), "prior_timeout_ms is nan"),
    ],
)
def test_impossible_values_are_named(name, value, text):
    values = {item.name: item.default for item in fields(DerainParameters)}
    with pytest.raises(ParameterError, match=text):
        parameters.checked(DerainParameters, {**values, name: value})


@pytest.mark.parametrize(("value", "error"), [(17, ParameterException), ("1", ParameterException)])
def test_a_node_does_not_start_with_a_wrong_value(ros, value, error):
    with pytest.raises(error):
        DerainNode(parameter_overrides=[Parameter("iterations", value=value)])


def test_a_node_does_not_start_with_values_that_contradict_each_other(ros):
    with pytest.raises(EngineError, match="gate_close_mm_h"):
        DerainNode(parameter_overrides=[Parameter("gate_close_mm_h", value=50.0)])


def test_descriptors_carry_range_and_meaning(make_rig):
    made = make_rig()
    request = DescribeParameters.Request(names=["iterations", "gate_open_mm_h", "model"])
    answer = made.call(DescribeParameters, "derain_node/describe_parameters", request)
    iterations, gate, model = answer.descriptors
    assert (iterations.integer_range[0].from_value, iterations.integer_range[0].to_value) == (1, 5)
    assert gate.floating_point_range[0].to_value == 200.0
    assert "read at configure" in model.additional_constraints
    assert all(d.description for d in (iterations, gate, model))


def test_a_valid_change_takes_effect_on_the_next_frame(active):
    made = active(score_threshold=1.0)
    made.pass_through()
    assert not made.client.last(rig.outputs.DETECTIONS).detections
    assert made.set_parameter(made.segmentation, "score_threshold", 0.0).successful
    made.pass_through()
    assert made.client.last(rig.outputs.DETECTIONS).detections
    assert made.set_parameter(made.derain, "prior", "none").successful
    made.pass_through()
    assert made.derain.engine.restorer.settings.prior == "none"


def test_a_new_threshold_is_published_with_the_classes(active):
    made = active()
    assert made.client.until(lambda: made.client.count(rig.outputs.LABEL_INFO) == 1)
    assert made.set_parameter(made.segmentation, "confidence_threshold", 1.0).successful
    assert made.client.until(lambda: made.client.count(rig.outputs.LABEL_INFO) == 2)
    assert made.client.last(rig.outputs.LABEL_INFO).threshold == 1.0
    made.pass_through()
    assert set(made.client.last(rig.outputs.LABEL_MAP).data) == {255}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("model", "other", "model: read at configure; clean the node up to change it"),
        ("device", "cuda", "device: read at configure"),
        ("prior", "psychic", "must be one of"),
        ("iterations", 0, "iterations"),
        ("gate_close_mm_h", 50.0, "gate_close_mm_h"),
        ("gate", "yes", "type"),
    ],
)
def test_an_invalid_change_is_refused_with_the_reason(active, name, value, text):
    made = active()
    before = made.derain.parameters
    result = made.set_parameter(made.derain, name, value)
    assert not result.successful and text in result.reason
    assert made.derain.parameters == before
    made.pass_through()


def test_quality_of_service_is_overridable(make_rig):
    made = make_rig()
    assert made.change(made.derain, "configure")
    for topic in ("derain/image.publisher.depth", "derain/mode.publisher.reliability"):
        assert made.derain.has_parameter(f"qos_overrides.{made.namespace}/{topic}")


@pytest.mark.parametrize("options", [(), ("--planner",)])
def test_a_process_with_a_wrong_value_says_so_in_a_line(options):
    command = [sys.executable, "-m", "ros2_derain.cli", "run", *options, "--ros-args", "-p", "iterations:=9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 1 and "iterations" in done.stderr and "Traceback" not in done.stderr
