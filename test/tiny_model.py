"""A model folder with the real networks, very narrow and untrained, for tests.

What it restores means nothing; that it runs, and fast, is the point.
"""

from pathlib import Path

import torch

from ros2_derain import models, networks

CLASSES = ("sky", "road", "car")
OBJECTS = ("car", "pedestrian")

OPTIONS = {
    "derainer": ("loopnet", {"classes": len(CLASSES), "widths": [8, 8, 8], "state": 4}),
    "parser": ("scene_parser", {"classes": len(CLASSES), "objects": len(OBJECTS), "widths": [8, 8, 8, 8]}),
    "gauge": ("rain_gauge", {"width": 4}),
}


def modules(reads_mm_h: float) -> dict[str, torch.nn.Module]:
    """The networks; the gauge reads ``reads_mm_h`` off any image."""
    torch.manual_seed(0)
    made = {part: networks.create(network, **options) for part, (network, options) in OPTIONS.items()}
    last = made["gauge"].read[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(float(torch.log1p(torch.tensor(reads_mm_h))))
    return made


def write(folder: Path, reads_mm_h: float = 100.0, **changed: torch.nn.Module) -> Path:
    """Write the model folder and return it; ``changed`` replaces networks by part."""
    described = {
        part: {"network": network, "options": options} for part, (network, options) in OPTIONS.items()
    }
    card = models.ModelCard(folder.name, described, CLASSES, OBJECTS, "")
    models.save(folder, card, modules(reads_mm_h) | changed)
    return folder
