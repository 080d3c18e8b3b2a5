"""A model folder with the real networks, very narrow and untrained, for tests.

What it restores means nothing; that it runs, and fast, is the point.
"""

import math
from pathlib import Path

import torch

from ros2_derain import models, networks

CLASSES = ("sky", "road", "car")
OBJECTS = ("car", "pedestrian")

OPTIONS = {
    "derainer": ("loopnet", {"classes": len(CLASSES), "widths": [8, 8, 8, 8], "state": 4}),
    "parser": ("scene_parser", {"classes": len(CLASSES), "objects": len(OBJECTS), "widths": [8, 8, 8, 8]}),
    "gauge": ("weather_gauge", {"widths": [4, 4, 4, 4]}),
}


PAPERS = {
    "sapnet": {"stages": 2, "channels": 4, "dilations": [1, 2]},
    "mspfn": {"variant": "light", "modules": 1, "channels": 8, "narrow": 4, "filters": [4, 4]},
    "danet": {"channels": 8, "orb_blocks": 1, "encoder_blocks": 1, "decoder_blocks": 1},
    "phpnet": {"channels": 8, "blocks": 1, "pyramids": 2, "refinement_channels": 4},
    "ubcn": {"classes": len(CLASSES), "variant": "light", "channels": 8, "blocks": 1, "branch": 2},
}
"""Options of the papers' derainers at which they are as narrow."""


def modules(reads_mm_h: float, described: dict = OPTIONS) -> dict[str, torch.nn.Module]:
    """The networks; the gauge reads ``reads_mm_h`` off any image, and sees no water on any glass."""
    torch.manual_seed(0)
    made = {part: networks.create(network, **options) for part, (network, options) in described.items()}
    gauge = made["gauge"]
    for last, reads in (
        (gauge.read_rate.layers[-1], math.log1p(reads_mm_h)),
        (gauge.read_contrast.layers[-1], -20.0),
        (gauge.hides, -20.0),
    ):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.constant_(last.bias, reads)
    return made


def write(folder: Path, reads_mm_h: float = 100.0, network: str = "loopnet", **changed) -> Path:
    """Write the model folder and return it.

    Args:
        folder: its name is the model's.
        reads_mm_h: see :func:`modules`.
        network: the derainer's, ``loopnet`` or one of :data:`PAPERS`.
        changed: by part, a module with other weights or another network's name and options.
    """
    described = dict(OPTIONS)
    if network in PAPERS:
        described["derainer"] = (network, PAPERS[network])
    described |= {part: given for part, given in changed.items() if isinstance(given, tuple)}
    made = modules(reads_mm_h, described)
    made |= {part: given for part, given in changed.items() if not isinstance(given, tuple)}
    written = {part: {"network": name, "options": options} for part, (name, options) in described.items()}
    models.save(folder, models.ModelCard(folder.name, written, CLASSES, OBJECTS, ""), made)
    return folder
