"""How often a frame waits for the device: operators that read a value on the host would wait on a GPU."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.engine.loaded_model import Placement

WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")


class Waiting(TorchDispatchMode):
    """Counts the operators of :data:`WAITING`."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().removeprefix("aten::").split(".")[0]
        by_mask = name == "index" and any(a is not None and a.dtype == torch.bool for a in args[1])
        if name in WAITING or by_mask:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "model, prior, times",
    [
        ("rainy", "temporal", 3),
        ("rainy", "none", 3),
        ("rainy", "closed_loop", 3),
        ("wet", "temporal", 3),
        ("dry", "temporal", 2),
    ],
)
def test_a_frame_waits_for_the_device_at_the_gate_at_the_image_and_at_the_labels(
    request, monkeypatch, model, prior, times
):
    """Once each, and nowhere between; the image is published before it is parsed.

    In a wet frame the gate's transfer brings what water hides, too; the labels' brings the prior.
    """
    folder = request.getfixturevalue(f"{model}_model")
    engine = Engine.load(
        EngineSettings(model=folder, device="cpu", prior=prior, iterations=2, runtime="torch")
    )
    downloads, download = [], Placement.download
    monkeypatch.setattr(
        Placement, "download", lambda self, *tensors: downloads.append(1) or download(self, *tensors)
    )
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: downloads.append(1) or self)
    rng = np.random.default_rng(0)
    for index in range(2):
        downloads.clear()
        image = rng.integers(0, 255, (64, 96, 3), np.uint8)
        image[16:40, 16:56] = 255
        with Waiting() as waiting:
            scene = engine.process(Frame(40_000_000 * index, "camera", image))
        assert scene.fault == "" and len(downloads) == times and waiting.found == {}
        assert (scene.view.coverage > 0) == (model == "wet")
