"""Model folders: written whole, loaded only when everything fits."""

import os
import re
from pathlib import Path

import pytest
import tiny_model
import torch
import yaml

from ros2_derain import models
from ros2_derain.models import CARD, WEIGHTS, ModelError


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny_model.write(tmp_path / "tiny")


def edit(folder: Path, **changes) -> None:
    card = yaml.safe_load((folder / CARD).read_text())
    (folder / CARD).write_text(yaml.safe_dump(card | changes))


def test_what_is_saved_is_loaded(folder):
    card, loaded = models.load(folder)
    assert card.classes == tiny_model.CLASSES and card.objects == tiny_model.OBJECTS
    for part, module in tiny_model.modules(100.0).items():
        for name, tensor in module.state_dict().items():
            assert torch.allclose(loaded[part].state_dict()[name].float(), tensor.float(), atol=2e-3), name
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS], "no partial file is left"


def test_a_changed_byte_is_noticed(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="is not that of the card"):
        models.load(folder)


def test_a_missing_weights_file_is_named(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=re.escape(str(folder / WEIGHTS))):
        models.load(folder)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"networks": {"derainer": {"network": "unet"}}}, "no network named 'unet'"),
        ({"networks": {"derainer": {"network": "loopnet", "options": {"depth": 3}}}}, "depth"),
        ({"networks": {"derainer": {"network": "loopnet", "options": {}}}}, "derainer has another shape of"),
        ({"networks": {"derainer": {"network": "rain_gauge", "options": {}}}}, "derainer lacks"),
    ],
)
def test_a_card_of_another_network_is_refused_by_name(folder, changes, said):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=said):
        models.load(folder)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"sha256": None}, "sha256 is None: must be a valid string"),
        ({"classes": "sky"}, "classes is 'sky': must be a valid array"),
        ({"clases": []}, "unknown key clases; known: name, networks, classes"),
        ({"networks": {"derainer": {"options": {}}}}, "networks.derainer: network is missing"),
    ],
)
def test_a_wrong_field_of_a_card_is_named(folder, changes, said):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=re.escape(f"model card {folder / CARD}: {said}")):
        models.read_card(folder)


def test_a_card_without_hash_or_yaml_is_refused(folder):
    card = yaml.safe_load((folder / CARD).read_text())
    del card["sha256"]
    (folder / CARD).write_text(yaml.safe_dump(card))
    with pytest.raises(ModelError, match="sha256 is missing"):
        models.load(folder)
    (folder / CARD).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        models.load(folder)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ModelError, match="no model named 'nosuch'; known: .*path of a model folder"):
        models.find("nosuch")
    with pytest.raises(ModelError, match="card.yaml is missing"):
        models.find("./nosuch")


def test_a_model_can_be_read_by_whom_the_umask_allows(tmp_path):
    former = os.umask(0o022)
    try:
        folder = tiny_model.write(tmp_path / "mine")
    finally:
        os.umask(former)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        CARD: "0o644",
        WEIGHTS: "0o644",
    }


def test_every_shipped_model_loads():
    found = models.folders()
    assert "loopnet" in [folder.name for folder in found]
    for folder in found:
        card, modules = models.load(folder)
        assert card.name == folder.name and card.results, f"{folder} must say what was measured"
        assert (folder / WEIGHTS).stat().st_size < 16e6
