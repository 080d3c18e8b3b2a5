"""A model folder with the real networks, very narrow and untrained, for tests.

What it restores means nothing; that it runs, and fast, is the point.
"""

import math
import shutil
from pathlib import Path

import torch
import yaml

from ros2_derain import models, networks

CLASSES = ("sky", "road", "car")
OBJECTS = ("car", "pedestrian")

COLOURS = {"sky": (10, 20, 30), "road": (200, 0, 100), "car": (7, 77, 177)}
"""Other ones than the classes have by their names."""

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
    """The networks; the gauge reads ``reads_mm_h`` off any image, and sees no water on any glass.

    A ``rain_gauge`` measures nothing but the rate.
    """
    torch.manual_seed(0)
    made = {part: networks.create(network, **options) for part, (network, options) in described.items()}
    gauge, rate = made["gauge"], math.log1p(reads_mm_h)
    lasts = (
        [(gauge.read[-1], rate)]
        if described["gauge"][0] == "rain_gauge"
        else [
            (gauge.rain.read[-1], rate),
            (gauge.read_contrast.layers[-1], -20.0),
            (gauge.hides[0], -20.0),
        ]
    )
    for last, reads in lasts:
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.constant_(last.bias, reads)
    return made


def sees_white_as_water(reads_mm_h: float = 0.0, contrast_loss: float = 0.0) -> torch.nn.Module:
    """A weather gauge that takes every 4 x 4 pixels that are nearly white for water on the glass.

    Its first layer averages the pixels of a cell, the layers on the way to the mask pass that on, and
    the mask's bias is the threshold.
    """
    gauge = modules(reads_mm_h)["gauge"]
    with torch.no_grad():
        convolution, block = gauge.quarter[0][0], gauge.quarter[1]
        for layer in (convolution, block.second[0], gauge.up4, gauge.fuse4[0], gauge.hides[0]):
            layer.weight.zero_()
        gauge.up4.bias.zero_()
        convolution.weight[0, :12, 1:, 1:] = 1 / 48  # of half pixels around 0: 2 x 2 pixels in 3 colours each
        gauge.fuse4[0].weight[0, 0, 1, 1] = 1
        gauge.hides[0].weight[:, 0] = 400
        gauge.hides[0].bias.fill_(-400 * 0.25)
        gauge.read_contrast.layers[-1].bias.fill_(math.log(max(contrast_loss, 1e-9) / (1 - contrast_loss)))
    return gauge


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


def coloured(model: str, folder: Path) -> Path:
    """A copy of a model whose card gives its classes :data:`COLOURS`."""
    shutil.copytree(model, folder)
    card = yaml.safe_load((folder / models.CARD).read_text())
    card["colours"] = {name: list(colour) for name, colour in COLOURS.items()}
    (folder / models.CARD).write_text(yaml.safe_dump(card))
    return folder
