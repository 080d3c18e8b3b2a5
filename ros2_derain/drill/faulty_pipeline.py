"""The composed pipeline, with networks that fail on command.

    python -m ros2_derain.drill.faulty_pipeline ORDER [--largest-file BYTES] --ros-args ...

ORDER is a file that holds, whenever a network is called, what shall befall it: nothing, or
a part (``derainer`` or ``parser``) and one of ``nan``, ``oom``, ``slow SECONDS``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ros2_derain.engine import EngineSettings, LoadedModel, SharedModel
from ros2_derain.nodes import pipeline, runtime


class Sabotaged:
    """A network that does what the order says before or after its own work.

    Args:
        network: the sound one.
        part: its name in orders.
        order: the file.
    """

    def __init__(self, network: Any, part: str, order: Path) -> None:
        self._network, self._part, self._order = network, part, order

    def __call__(self, *arguments: Any) -> Any:
        """The network's ``forward``."""
        return self._obey(self._network, arguments)

    def coarse(self, *arguments: Any) -> Any:
        """The derainer's ``coarse``."""
        return self._obey(self._network.coarse, arguments)

    def __getattr__(self, name: str) -> Any:
        """All else is the network's."""
        return getattr(self._network, name)

    def _obey(self, function: Any, arguments: tuple) -> Any:
        part, kind, *seconds = (self._order.read_text().split() or ["", ""])[:3]
        if part != self._part:
            return function(*arguments)
        if kind == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")
        if kind == "slow":
            time.sleep(float(seconds[0]))
        found = function(*arguments)
        return _spoilt(found) if kind == "nan" else found


class SabotagedModel(SharedModel):
    """The model of the process, all of its networks sabotaged.

    Args:
        order: the file.
    """

    def __init__(self, order: Path) -> None:
        super().__init__()
        self._order = order

    def acquire(self, user: str, settings: EngineSettings) -> LoadedModel:
        model = super().acquire(user, settings)
        networks = {part: Sabotaged(net, part, self._order) for part, net in model.networks.items()}
        return replace(model, networks=networks)


def _spoilt(value: Any) -> Any:
    """The same tensors, full of NaN."""
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, torch.nan)
    if isinstance(value, tuple):
        items = [_spoilt(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="subject")
    parser.add_argument("order", type=Path)
    parser.add_argument("--largest-file", type=int, metavar="BYTES", help="make no larger file")
    args, arguments = parser.parse_known_args(argv)
    if args.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.largest_file, args.largest_file))

    return runtime.run(lambda: pipeline.create(SabotagedModel(args.order)), arguments, ready=runtime.activate)


if __name__ == "__main__":
    sys.exit(main())
