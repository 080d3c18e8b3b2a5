"""Both halves of the loop on one device, exchanging priors by reference."""

from __future__ import annotations

import time

from torch import Tensor

from .interpreter import Interpretation, Interpreter
from .loaded_model import LoadedModel
from .restorer import PriorExchange, Restored, Restorer
from .scene import Frame, Mode, Scene
from .settings import EngineSettings

UNPARSED = (Mode.DERAIN_ONLY, Mode.PASS_THROUGH)
"""Modes in which the scene parser does not run."""


class LocalExchange:
    """Priors of an interpreter in the same process; they never leave the device."""

    def __init__(self, interpreter: Interpreter):
        self._interpreter = interpreter
        self._stamp_ns: int | None = None
        self._prior: Tensor | None = None

    def keep(self, stamp_ns: int, prior: Tensor) -> None:
        """Remember the prior of the frame with this stamp, for the next frame."""
        self._stamp_ns, self._prior = stamp_ns, prior

    def forget(self) -> None:
        """No prior any more."""
        self._stamp_ns = self._prior = None

    def previous(self, stamp_ns: int) -> Tensor | None:
        """See :class:`PriorExchange`."""
        return self._prior if stamp_ns == self._stamp_ns else None

    def ask(self, frame: Frame, clean: Tensor) -> Tensor | None:
        """See :class:`PriorExchange`."""
        return self._interpreter.prior(clean)


class Engine:
    """The whole way of a frame. Frames of one camera, in order; not for several threads at once."""

    def __init__(self, restorer: Restorer, interpreter: Interpreter):
        self.restorer, self.interpreter = restorer, interpreter
        self._exchange = LocalExchange(interpreter)

    @classmethod
    def load(cls, settings: EngineSettings) -> Engine:
        """Load a model, once for both halves; raises as :meth:`LoadedModel.load`."""
        return cls.of(LoadedModel.load(settings), settings)

    @classmethod
    def of(cls, model: LoadedModel, settings: EngineSettings) -> Engine:
        """The engine of one camera; several may have the same model (see :meth:`LoadedModel.shared`)."""
        return cls(Restorer(model, settings), Interpreter(model, settings))

    @property
    def identity(self):
        """The :class:`ModelIdentity` of what runs."""
        return self.restorer.identity

    def warm_up(self, height: int, width: int) -> None:
        """Run every path at this size, so that the first frame doesn't pay for it."""
        self.restorer.warm_up(height, width)
        self.interpreter.warm_up(height, width)

    def reset(self) -> None:
        """Forget the previous frame."""
        self.restorer.reset()
        self._exchange.forget()

    def restore(self, frame: Frame, exchange: PriorExchange | None = None) -> Restored:
        """The clean image of a frame; ``exchange`` replaces the local one (see :meth:`Restorer.restore`)."""
        return self.restorer.restore(frame, exchange or self._exchange)

    def interpret(self, restored: Restored) -> Scene:
        """Labels, boxes and the next frame's prior of a restored frame.

        A parser that fails steps the ladder down; the scene then has no perception.
        """
        if restored.mode in UNPARSED:
            return _scene(restored, None)
        started = time.perf_counter()
        try:
            found = self.interpreter.interpret(restored.tensor)
        except RuntimeError as error:
            self.restorer.fault(restored.frame.stamp_ns)
            self._exchange.forget()
            return _scene(restored, None, f"{type(error).__name__}: {str(error).strip()}")
        self._exchange.keep(restored.frame.stamp_ns, found.prior)
        restored.milliseconds["parse"] = 1000 * (time.perf_counter() - started)
        restored.milliseconds["total"] += restored.milliseconds["parse"]
        return _scene(restored, found)

    def process(self, frame: Frame) -> Scene:
        """``interpret(restore(frame))``."""
        return self.interpret(self.restore(frame))


def _scene(restored: Restored, found: Interpretation | None, fault: str = "") -> Scene:
    frame = restored.frame
    mode = Mode.DERAIN_ONLY if fault and restored.mode is not Mode.DRY else restored.mode
    return Scene(
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        image=restored.image,
        trust=restored.trust,
        rain=restored.rain,
        mode=mode,
        iterations=restored.iterations,
        prior_missed=restored.prior_missed,
        perception=found.perception if found else None,
        prior=found.prior.cpu().numpy() if found else None,
        milliseconds=dict(restored.milliseconds),
        fault=restored.fault or fault,
    )
