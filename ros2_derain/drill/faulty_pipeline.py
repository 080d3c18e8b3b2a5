"""The composed pipeline, with networks that fail on command.

    python -m ros2_derain.drill.faulty_pipeline FAULT [--largest-file BYTES] --ros-args ...

FAULT is a file that is read at every call of a network. It is empty, or names a part (``derainer`` or
``parser``) and its fault: ``nan``, ``oom``, or ``slow SECONDS``.
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


class FaultyNetwork:
    """A network with the fault that the fault file names.

    Args:
        network: the real one.
        part: its name in the fault file.
        fault_file: see the module.
    """

    def __init__(self, network: Any, part: str, fault_file: Path) -> None:
        self._network, self._part, self._fault_file = network, part, fault_file

    def __call__(self, *arguments: Any) -> Any:
        """The network's ``forward``."""
        return self._call(self._network, arguments)

    def coarse(self, *arguments: Any) -> Any:
        """The derainer's ``coarse``."""
        return self._call(self._network.coarse, arguments)

    def once(self, *arguments: Any) -> Any:
        """The derainer's ``once``."""
        return self._call(self._network.once, arguments)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the network's."""
        return getattr(self._network, name)

    def _call(self, function: Any, arguments: tuple) -> Any:
        part, kind, *seconds = (self._fault_file.read_text().split() or ["", ""])[:3]
        if part != self._part:
            return function(*arguments)
        if kind == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (simulated)")
        if kind == "slow":
            time.sleep(float(seconds[0]))
        found = function(*arguments)
        return _as_nan(found) if kind == "nan" else found


class FaultyModel(SharedModel):
    """The shared model of the process with faulty networks.

    Args:
        fault_file: see the module.
    """

    def __init__(self, fault_file: Path) -> None:
        super().__init__()
        self._fault_file = fault_file

    def acquire(self, user: str, settings: EngineSettings) -> LoadedModel:
        model = super().acquire(user, settings)
        networks = {part: FaultyNetwork(net, part, self._fault_file) for part, net in model.networks.items()}
        return replace(model, networks=networks)


def _as_nan(value: Any) -> Any:
    """The same tensors, full of NaN."""
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, torch.nan)
    if isinstance(value, tuple):
        items = [_as_nan(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="faulty_pipeline")
    parser.add_argument("fault_file", metavar="FAULT", type=Path)
    parser.add_argument("--largest-file", type=int, metavar="BYTES", help="make no larger file")
    args, arguments = parser.parse_known_args(argv)
    if args.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.largest_file, args.largest_file))
    model = FaultyModel(args.fault_file)
    return runtime.run(lambda: pipeline.create(model), arguments, ready=runtime.activate)


if __name__ == "__main__":
    sys.exit(main())
