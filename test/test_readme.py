"""What the README says of parameters, topics and commands is what the code says."""

import re
from pathlib import Path

from ros2_derain.cli import COMMANDS
from ros2_derain.nodes import outputs, parameters

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_parameter_table_is_the_generated_one():
    start, end = "--markdown -->\n", "<!-- end of parameters"
    assert README.split(start)[1].split(end)[0].strip() == parameters.to_markdown().strip()


def test_every_topic_is_listed():
    listed = set(re.findall(r"`([a-z_/]+)`", README.split("## Topics")[1].split("### Modes")[0]))
    assert {topic.name for topic in outputs.OUTPUTS} <= listed


def test_every_command_is_listed():
    assert set(re.findall(r"^    ros2-derain (\w+)", README.split("## Commands")[1], re.M)) >= set(COMMANDS)
