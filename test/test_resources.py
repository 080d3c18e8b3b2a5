"""Shipped files are found in the share directory first, then in the source tree."""

from pathlib import Path

import pytest

from ros2_derain import resources

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def share(tmp_path, monkeypatch) -> Path:
    """The share directory of an installed ros2_derain, found through the ament index; empty."""
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/ros2_derain").touch()
    (tmp_path / "share/ros2_derain").mkdir()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return (tmp_path / "share/ros2_derain").resolve()


def test_source_tree_serves_a_checkout():
    assert resources.path("config/fastdds.xml") == ROOT / "config/fastdds.xml"
    assert resources.path("samples").is_dir()
    assert ROOT / "models" in resources.models_dirs()


def test_source_tree_serves_without_an_ament_index(monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert resources.path("config/fastdds.xml") == ROOT / "config/fastdds.xml"


def test_share_directory_comes_first(share):
    (share / "config").mkdir()
    (share / "config/fastdds.xml").touch()
    assert resources.path("config/fastdds.xml") == share / "config/fastdds.xml"


def test_file_that_the_share_directory_lacks_comes_from_the_source_tree(share):
    assert resources.path("config/fastdds.xml") == ROOT / "config/fastdds.xml"


def test_models_of_both_places_installed_ones_first(share):
    (share / "models").mkdir()
    assert resources.models_dirs()[0] == share / "models"
    assert ROOT / "models" in resources.models_dirs()


def test_missing_file_names_the_places_that_were_searched(share):
    with pytest.raises(resources.ResourceError) as raised:
        resources.path("config/none.yaml")
    assert "'config/none.yaml' is missing" in str(raised.value)
    assert str(share) in str(raised.value) and str(ROOT) in str(raised.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secrets", "config/../../secrets"])
def test_names_outside_the_package_are_refused(name):
    with pytest.raises(resources.ResourceError, match="not the name of a shipped file"):
        resources.path(name)
