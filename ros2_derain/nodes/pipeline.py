"""Both nodes in one process, on one model; for one camera, or for several.

The model is loaded once, for all cameras (which take turns: see
:meth:`ros2_derain.engine.LoadedModel.turns`); the clean
image and the semantic prior stay on the device.
Topics, parameters and lifecycle are those of the two separate nodes:

* both active: derain_node's worker restores a frame, publishes the clean image, and
  then has segmentation_node parse it; its prior is ready for the next frame;
* only derain_node active: it goes on without priors;
* only segmentation_node active: it listens to ``derain/image`` like the separate node.

Several cameras have both nodes each, in a namespace of their own.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from rclpy.utilities import remove_ros_args

from ros2_derain.engine import (
    EngineError,
    EngineSettings,
    Frame,
    Interpretation,
    Interpreter,
    LoadedModel,
    LocalExchange,
    Restored,
    Restorer,
    Turns,
)
from ros2_derain.nodes import camera_names, runtime
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.managed_node import ManagedNode
from ros2_derain.nodes.outputs import CLEAN_IMAGE
from ros2_derain.nodes.segmentation_node import SegmentationNode
from ros2_derain.nodes.topics import PROPOSAL


class SharedModel:
    """The model of the process: loaded for the first node that asks, dropped with the last.

    Args:
        cameras: how many cameras share it.
    """

    def __init__(self, cameras: int = 1) -> None:
        self._model: LoadedModel | None = None
        self._loaded: tuple[str, str, str] | None = None
        self._users: set[ManagedNode] = set()
        self.cameras = cameras
        self._turns: Turns | None = None

    def acquire(self, user: ManagedNode) -> LoadedModel:
        """The model that the node's parameters name.

        Raises:
            EngineError: another node has loaded another model, device or precision.
            ModelError: the model does not load.
        """
        wanted = _what_is_loaded(user.settings)
        if self._users - {user} and wanted != self._loaded:
            raise EngineError(
                f"{user.get_fully_qualified_name()} wants {_brief(wanted)}, but this process has loaded "
                f"{_brief(self._loaded)}: give all its nodes the same, or run them as processes of their own"
            )
        if self._model is None:
            self._model, self._loaded = LoadedModel.load(user.settings), wanted
            self._turns = self._model.turns(self.cameras) if self.cameras > 1 else None
        self._users.add(user)
        return self._model.shared(self._turns) if self._turns else self._model

    def release(self, user: ManagedNode) -> None:
        """The node needs the model no longer."""
        self._users.discard(user)
        if not self._users:
            self._model = self._loaded = self._turns = None

    def turn(self) -> AbstractContextManager:
        """The context of one frame: several cameras take turns."""
        return self._turns.frame() if self._turns else nullcontext()


class NoPriors:
    """The exchange of a derainer that has no parser."""

    def previous(self, stamp_ns: int) -> None:
        """None."""

    def ask(self, frame: Frame, clean: Any) -> None:
        """None."""


class ComposedDerainNode(DerainNode):
    """derain_node with its parser in the same process.

    Args:
        shared: the model of the process.
        segmentation: the node that every restored frame is handed to.
        options: further arguments of :class:`DerainNode`.
    """

    def __init__(self, shared: SharedModel, segmentation: ComposedSegmentationNode, **options: Any) -> None:
        self._shared, self.sharers = shared, shared.cameras
        self._segmentation = segmentation
        self._priors: LocalExchange | None = None
        super().__init__(**options)

    def load_restorer(self) -> Restorer:
        return Restorer(self._shared.acquire(self), self.settings)

    def unload(self) -> None:
        super().unload()
        self._priors = None
        self._shared.release(self)

    def turn(self) -> AbstractContextManager:
        return self._shared.turn()

    def open_exchange(self) -> None:
        self._segmentation.feed(True)

    def close_exchange(self) -> None:
        self._segmentation.feed(False)

    def forget(self) -> None:
        super().forget()
        self._priors = None

    def restore(self, frame: Frame) -> Restored:
        return self.restorer.restore(frame, self._exchange_now())

    def follow(self, restored: Restored) -> None:
        """Have the frame parsed; the ladder steps down where that fails."""
        exchange = self._exchange_now()
        began = time.perf_counter()
        try:
            found = self._segmentation.take(restored)
        except Exception as error:
            self.restorer.fault(restored.frame.stamp_ns)
            self.explain(f"segmentation_node: {type(error).__name__}: {error}")
            self.say("parser", f"segmentation_node failed:\n{traceback.format_exc()}")
            self._priors = None
            return
        if found is None:
            self._priors = None
        elif isinstance(exchange, LocalExchange):
            exchange.keep(restored.frame.stamp_ns, found.prior)
        self._add_time(restored, found, 1e3 * (time.perf_counter() - began))

    def _add_time(self, restored: Restored, found: Interpretation | None, spent_ms: float) -> None:
        """The frame's time budget covers its parse too."""
        if found is not None:
            restored.milliseconds["parse"] = spent_ms
            restored.milliseconds["total"] += spent_ms

    def _exchange_now(self) -> LocalExchange | NoPriors:
        """Priors by reference while segmentation_node is active."""
        interpreter = self._segmentation.interpreter
        if interpreter is None or not self._segmentation.active:
            self._priors = None
            return NoPriors()
        if self._priors is None:
            self._priors = LocalExchange(interpreter)
        return self._priors


class ComposedSegmentationNode(SegmentationNode):
    """segmentation_node that is handed frames in the same process.

    Args:
        shared: the model of the process.
        options: further arguments of :class:`SegmentationNode`.
    """

    def __init__(self, shared: SharedModel, **options: Any) -> None:
        self._shared = shared
        self._is_fed = False
        super().__init__(**options)

    def load_interpreter(self) -> Interpreter:
        return Interpreter(self._shared.acquire(self), self.settings)

    def unload(self) -> None:
        super().unload()
        self._shared.release(self)

    def feed(self, is_fed: bool) -> None:
        """Whether derain_node hands frames over; otherwise they come from the topic."""
        self._is_fed = is_fed
        self.unsubscribe(CLEAN_IMAGE)
        self.unsubscribe(PROPOSAL)
        if self.active:
            self.listen()

    def listen(self) -> None:
        if not self._is_fed:
            super().listen()


def create(**options: Any) -> tuple[ComposedSegmentationNode, ComposedDerainNode]:
    """Both nodes of one camera, the parser first: who activates in this order misses no prior."""
    return _pair(SharedModel(), **options)


def create_cameras(
    names: Sequence[str], namespace: str = "", **options: Any
) -> tuple[ComposedSegmentationNode | ComposedDerainNode, ...]:
    """Both nodes of every camera, all on one model.

    Args:
        names: each camera's namespace below ``namespace``.
        namespace: of them all.
        options: further arguments of the nodes.
    """
    shared = SharedModel(len(names))
    above = f"/{namespace.strip('/')}".rstrip("/")
    pairs = [_pair(shared, namespace=f"{above}/{name}", **options) for name in names]
    return tuple(node for pair in pairs for node in pair)


def _pair(shared: SharedModel, **options: Any) -> tuple[ComposedSegmentationNode, ComposedDerainNode]:
    segmentation = ComposedSegmentationNode(shared, **options)
    return segmentation, ComposedDerainNode(shared, segmentation, **options)


def run(argv: list[str] | None = None, names: Sequence[str] = (), namespace: str = "") -> int:
    """Run the pipeline, configured and activated, until SIGINT or SIGTERM.

    Args:
        argv: the command line with ``--ros-args`` and so on.
        names: of the cameras, where there are several.
        namespace: of them all.

    Returns:
        the exit status: 0 after a signal, 1 where it could not be started.
    """
    return runtime.run(_creator(names, namespace), argv, ready=runtime.activate)


def main(argv: list[str] | None = None) -> int:
    """Run the nodes until SIGINT or SIGTERM; a lifecycle manager configures them."""
    given = sys.argv if argv is None else ["pipeline", *argv]
    parser = argparse.ArgumentParser(prog="pipeline", description=main.__doc__)
    camera_names.add_arguments(parser)
    args = parser.parse_args(remove_ros_args(given)[1:])
    return runtime.run(_creator(args.cameras, args.namespace), given[1:])


def _creator(names: Sequence[str], namespace: str) -> Callable[[], runtime.Nodes]:
    return partial(create_cameras, names, namespace) if names else partial(create, namespace=namespace)


def _what_is_loaded(settings: EngineSettings) -> tuple[str, str, str]:
    return settings.model, settings.device, settings.precision


def _brief(loaded: tuple[str, str, str]) -> str:
    return "model {} on {} in {}".format(*loaded)


if __name__ == "__main__":
    raise SystemExit(main())
