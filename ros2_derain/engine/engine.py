"""The closed loop of one camera: restore a frame, then interpret it.

Every way to run uses these two steps: offline both in a row (:meth:`Engine.process`), the
composed pipeline with publication after each, two processes with one step in each process.
"""

from __future__ import annotations

import time
from dataclasses import replace

from torch import Tensor

from .interpreter import Interpretation, Interpreter
from .loaded_model import LoadedModel, ModelIdentity
from .restorer import PriorSource, Restorer
from .scene import NOT_PARSED, Frame, Mode, Restored, Scene
from .settings import EngineSettings
from .view import hidden_classes, perceived_through


class LocalPriors:
    """Priors of an interpreter in the same process; they never leave the device."""

    def __init__(self, interpreter: Interpreter | None = None):
        self.interpreter = interpreter
        self._stamp_ns: int | None = None
        self._prior: Tensor | None = None

    def keep(self, stamp_ns: int, prior: Tensor) -> None:
        """Keep the prior of the frame with this stamp, for the next frame."""
        self._stamp_ns, self._prior = stamp_ns, prior

    def reset(self) -> None:
        """Drop the last prior."""
        self._stamp_ns = self._prior = None

    def previous(self, stamp_ns: int) -> Tensor | None:
        """See :class:`PriorSource`."""
        return self._prior if stamp_ns == self._stamp_ns else None

    def parse(self, frame: Frame, clean: Tensor) -> Tensor | None:
        """See :class:`PriorSource`."""
        return None if self.interpreter is None else self.interpreter.prior(clean)


class Engine:
    """Takes the frames of one camera, in order; not for several threads at once.

    Args:
        restorer: the first half.
        interpreter: the second half; None: it runs elsewhere or not at all. May change between frames.
    """

    def __init__(self, restorer: Restorer, interpreter: Interpreter | None = None):
        self.restorer = restorer
        self._local = LocalPriors(interpreter)

    @classmethod
    def load(cls, settings: EngineSettings) -> Engine:
        """Load a model, once for both halves; raises as :meth:`LoadedModel.load`."""
        return cls.of(LoadedModel.load(settings), settings)

    @classmethod
    def of(cls, model: LoadedModel, settings: EngineSettings) -> Engine:
        """The engine of one camera; several may share a model (see :meth:`LoadedModel.shared`)."""
        return cls(Restorer(model, settings), Interpreter(model, settings))

    @property
    def identity(self) -> ModelIdentity:
        """Of the model that runs."""
        return self.restorer.identity

    @property
    def interpreter(self) -> Interpreter:
        """The second half.

        Raises:
            AttributeError: this engine has none.
        """
        if self._local.interpreter is None:
            raise AttributeError("this engine has no interpreter")
        return self._local.interpreter

    def use_interpreter(self, interpreter: Interpreter | None) -> None:
        """Interpret with this from now on; its predecessor's prior is dropped."""
        if interpreter is not self._local.interpreter:
            self._local = LocalPriors(interpreter)

    def warm_up(self, height: int, width: int) -> None:
        """Run every path at this size, so that the first frame isn't slower."""
        self.restorer.warm_up(height, width)
        if self._local.interpreter is not None:
            self._local.interpreter.warm_up(height, width)

    def reset(self) -> None:
        """Drop the state of the previous frame."""
        self.restorer.reset()
        self._local.reset()
        if self._local.interpreter is not None:
            self._local.interpreter.tracks.reset()

    def restore(self, frame: Frame, priors: PriorSource | None = None) -> Restored:
        """The clean image of a frame; ``priors`` replaces the local ones (see :meth:`Restorer.restore`)."""
        return self.restorer.restore(frame, priors or self._local)

    def interpret(self, restored: Restored) -> Scene:
        """Labels, boxes and the next frame's prior of a restored frame.

        A parser that fails raises nothing: the ladder steps down, and the scene has no perception,
        the ``fault``, and mode ``derain_only`` (``dry`` stays ``dry``).
        """
        scene, found = interpreted(self._local.interpreter, restored)
        restored.milliseconds.update(scene.milliseconds)
        if found is None:
            self._local.reset()
        else:
            self._local.keep(restored.frame.stamp_ns, found.prior)
        if scene.fault and not restored.fault:
            self.parse_failed()
        return scene

    def parse_failed(self) -> None:
        """The parser failed on the last frame, here or in another process: step down."""
        self.restorer.fault()
        self._local.reset()

    def process(self, frame: Frame) -> Scene:
        """``interpret(restore(frame))``."""
        return self.interpret(self.restore(frame))


def interpreted(interpreter: Interpreter | None, restored: Restored) -> tuple[Scene, Interpretation | None]:
    """The scene of a restored frame, and the parser's output; None where it does not run or fails.

    Without an interpreter the scene is that of the first half alone.
    """
    if interpreter is None or restored.mode in NOT_PARSED or restored.tensor is None:
        return scene_of(restored), None
    started = time.perf_counter()
    try:
        found = interpreter.identified(restored.frame, interpreter.interpret(restored.tensor))
    except Exception as error:  # a network may fail in any way, and the frames go on
        return scene_of(restored, None, f"{type(error).__name__}: {str(error).strip()}"), None
    if restored.obstruction is not None:
        names, threshold = interpreter.identity.class_names, interpreter.settings.confidence_threshold
        by_class = hidden_classes(restored.obstruction, found.perception.labels, names)
        view = replace(restored.view, hidden={**restored.view.hidden, **by_class})
        restored = replace(restored, view=view)
        seen = perceived_through(found.perception, restored.obstruction, threshold)
        found = replace(found, perception=seen)
    scene = scene_of(restored, found)
    scene.milliseconds["parse"] = 1000 * (time.perf_counter() - started)
    scene.milliseconds["total"] = scene.milliseconds.get("total", 0.0) + scene.milliseconds["parse"]
    return scene, found


def scene_of(restored: Restored, found: Interpretation | None = None, fault: str = "") -> Scene:
    """The scene of a restored frame.

    Args:
        restored: the frame.
        found: the parser's output; None: it has not run.
        fault: of the parser.
    """
    frame = restored.frame
    return Scene(
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        image=restored.image,
        trust=restored.trust,
        rain=restored.rain,
        mode=Mode.DERAIN_ONLY if fault and restored.mode is not Mode.DRY else restored.mode,
        derain_mode=restored.mode,
        iterations=restored.iterations,
        prior_missed=restored.prior_missed,
        perception=found.perception if found else None,
        prior=found.prior_levels if found else None,
        milliseconds=dict(restored.milliseconds),
        fault=restored.fault or fault,
        view=restored.view,
        obstruction=restored.obstruction,
    )
