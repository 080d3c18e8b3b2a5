"""Both nodes in one process, with one engine between them.

The model is loaded once; the clean image and the semantic prior stay on the device.
Topics, parameters and lifecycle are those of the two separate nodes:

* both active: derain_node's worker restores a frame, publishes the clean image, and
  then has segmentation_node parse it; its prior is ready for the next frame;
* only derain_node active: it goes on without priors;
* only segmentation_node active: it listens to ``derain/image`` like the separate node.
"""

from __future__ import annotations

import time
import traceback
from typing import Any

from ros2_derain.engine import (
    Engine,
    EngineError,
    EngineSettings,
    Frame,
    Interpretation,
    Interpreter,
    LocalExchange,
    Restored,
    Restorer,
)
from ros2_derain.nodes import runtime
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.managed import ManagedNode
from ros2_derain.nodes.segmentation_node import SegmentationNode
from ros2_derain.nodes.topics import CLEAN_IMAGE, PROPOSAL


class SharedEngine:
    """The engine of the process: loaded for the first node that asks, dropped with the last."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._loaded: tuple[str, str, str] | None = None
        self._users: set[ManagedNode] = set()

    def acquire(self, user: ManagedNode) -> Engine:
        """The engine that the node's parameters name.

        Raises:
            EngineError: the other node has loaded another model, device or precision.
            ModelError: the model does not load.
        """
        wanted = _what_is_loaded(user.settings)
        if self._users - {user} and wanted != self._loaded:
            raise EngineError(
                f"{user.get_name()} wants {_brief(wanted)}, but this process has loaded "
                f"{_brief(self._loaded)}: give both nodes the same, or run them as two processes"
            )
        if self._engine is None:
            self._engine, self._loaded = Engine.load(user.settings), wanted
        self._users.add(user)
        return self._engine

    def release(self, user: ManagedNode) -> None:
        """The node needs the engine no longer."""
        self._users.discard(user)
        if not self._users:
            self._engine = self._loaded = None


class NoPriors:
    """The exchange of a derainer that has no parser."""

    def previous(self, stamp_ns: int) -> None:
        """None."""

    def ask(self, frame: Frame, clean: Any) -> None:
        """None."""


class ComposedDerainNode(DerainNode):
    """derain_node with its parser in the same process.

    Args:
        shared: the engine of the process.
        segmentation: the node that every restored frame is handed to.
        options: further arguments of :class:`DerainNode`.
    """

    def __init__(
        self, shared: SharedEngine, segmentation: ComposedSegmentationNode, **options: Any
    ) -> None:
        self._shared = shared
        self._segmentation = segmentation
        self._priors: LocalExchange | None = None
        super().__init__(**options)

    def load_restorer(self) -> Restorer:
        return self._shared.acquire(self).restorer

    def unload(self) -> None:
        super().unload()
        self._priors = None
        self._shared.release(self)

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
        shared: the engine of the process.
        options: further arguments of :class:`SegmentationNode`.
    """

    def __init__(self, shared: SharedEngine, **options: Any) -> None:
        self._shared = shared
        self._is_fed = False
        super().__init__(**options)

    def load_interpreter(self) -> Interpreter:
        return self._shared.acquire(self).interpreter

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
    """Both nodes, the parser first: who activates in this order misses no prior."""
    shared = SharedEngine()
    segmentation = ComposedSegmentationNode(shared, **options)
    return segmentation, ComposedDerainNode(shared, segmentation, **options)


def run(argv: list[str] | None = None) -> int:
    """Run the pipeline, configured and activated, until SIGINT or SIGTERM.

    Args:
        argv: the command line with ``--ros-args`` and so on.

    Returns:
        the exit status: 0 after a signal, 1 where it could not be started.
    """
    return runtime.run(create, argv, ready=runtime.activate)


def main(argv: list[str] | None = None) -> int:
    """Run both nodes until SIGINT or SIGTERM; a lifecycle manager configures them."""
    return runtime.run(create, argv)


def _what_is_loaded(settings: EngineSettings) -> tuple[str, str, str]:
    return settings.model, settings.device, settings.precision


def _brief(loaded: tuple[str, str, str]) -> str:
    return "model {} on {} in {}".format(*loaded)


if __name__ == "__main__":
    raise SystemExit(main())
