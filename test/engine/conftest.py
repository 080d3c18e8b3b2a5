import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny_model


@pytest.fixture(scope="session")
def rainy_model(tmp_path_factory) -> str:
    """Path of a tiny model whose gauge always reads 100 mm/h."""
    return str(tiny_model.write(tmp_path_factory.mktemp("models") / "rainy", 100.0))


@pytest.fixture(scope="session")
def dry_model(tmp_path_factory) -> str:
    """Path of a tiny model whose gauge always reads 0 mm/h."""
    return str(tiny_model.write(tmp_path_factory.mktemp("models") / "dry", 0.0))
