"""What the documents say of parameters, topics, commands, files and versions is what the code says."""

import re
from pathlib import Path

import pytest

from ros2_derain import cli
from ros2_derain.nodes import outputs, parameter_files

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
OUR_PATH = re.compile(
    r"`((?:ros2_derain|test|launch|config|docs|models|samples|interfaces|\.ci|\.github)/[\w./-]*)`"
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_parameters_page_is_the_generated_one():
    assert (ROOT / "docs/parameters.md").read_text() == parameter_files.to_markdown()


def test_every_topic_is_listed():
    listed = set(re.findall(r"`([a-z_3/]+)`", README.split("## Topics")[1].split("### Modes")[0]))
    assert {topic.name for topic in (*outputs.OUTPUTS, *outputs.IN_METRES)} <= listed


def test_every_command_is_listed_as_in_the_help():
    listed = re.findall(r"^    ros2-derain (\w+) +(.+)$", README.split("## Commands")[1], re.M)
    assert listed == [(name, text) for name, (_, text) in cli.COMMANDS.items()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files_and_headings_that_exist(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.name != "CHANGELOG.md"], ids=name)
def test_files_that_documents_name_exist(document):
    named = {path for path in OUR_PATH.findall(document.read_text()) if "NAME" not in path}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_changelog_begins_with_this_version():
    versions = re.findall(r"^## \[(\S+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == cli.version()


def test_pre_commit_runs_the_ruff_that_is_installed_by_setup():
    (pinned,) = re.findall(r"^ruff==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert f"rev: v{pinned}" in (ROOT / ".pre-commit-config.yaml").read_text()
