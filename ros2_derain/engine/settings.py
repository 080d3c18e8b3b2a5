"""What can be set about the engine, and the ranges."""

from __future__ import annotations

from dataclasses import dataclass

from .scene import EngineError

PRIORS = ("closed_loop", "temporal", "none")
RUNTIMES = ("auto", "torch", "openvino", "onnxruntime", "tensorrt")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MAX_ITERATIONS = 5
GATE_MEASURES = ("mm_h", "coverage", "contrast_loss")
"""What opens the gate."""


@dataclass(frozen=True)
class EngineSettings:
    """Settings of one engine; all but the first four may change while it runs.

    Attributes:
        model: a name under ``models/`` or the path of a model folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        runtime: what runs the networks, one of :data:`RUNTIMES`.
        prior: where the semantic prior comes from: ``closed_loop`` (parse, refine,
            repeated), ``temporal`` (the previous frame's, one refinement) or ``none``.
        iterations: refinements of ``closed_loop``, 1..5.
        gate: pass frames on untouched in which nothing of the following opens the gate.
        gate_open_mm_h, gate_close_mm_h: the rain rate opens the gate from the first value on, and holds
            it open down to the second.
        gate_open_coverage, gate_close_coverage: so does the share 0..1 of the view that water covers for
            longer than a second,
        gate_open_contrast_loss, gate_close_contrast_loss: and the share 0..1 of the contrast that is lost.
        water_interval_s: least time between two looks for water while none is seen; 0: every frame.
        obstruction_average_s: time constant over which the obstruction is averaged, in seconds of the
            frames' stamps; 0: not at all.
        dirt_after_s: what hides a place for this long while the scene moves is dirt; 0: nothing is.
        fill_hidden: fill what water hides from earlier frames and from around it, while the gate is open.
        restore_contrast: give back the contrast that a film of water or spray takes, while the gate is open.
        score_threshold: detections below this score are left out, where they do not continue a track.
        tracked_score_threshold: below this score (or ``score_threshold``, if that is lower) those are, too.
        confidence_threshold: pixels below this class probability are unlabelled.
        max_latency_ms: time budget of a frame; 0 = none.
        patience: frames over budget in a row before a step down the ladder.
        recover_after_s: quiet time before a step up, in seconds of the frames' stamps.
        reset_gap_s: a gap between stamps above this, or a step back, resets the memory.
    """

    model: str = "loopnet"
    device: str = "auto"
    precision: str = "auto"
    runtime: str = "auto"
    prior: str = "temporal"
    iterations: int = 3
    gate: bool = True
    gate_open_mm_h: float = 1.5
    gate_close_mm_h: float = 1.0
    gate_open_coverage: float = 0.0045
    gate_close_coverage: float = 0.003
    gate_open_contrast_loss: float = 0.2
    gate_close_contrast_loss: float = 0.15
    water_interval_s: float = 0.2
    obstruction_average_s: float = 0.08
    dirt_after_s: float = 120.0
    fill_hidden: bool = True
    restore_contrast: bool = True
    score_threshold: float = 0.4
    tracked_score_threshold: float = 0.3
    confidence_threshold: float = 0.0
    max_latency_ms: float = 0.0
    patience: int = 3
    recover_after_s: float = 5.0
    reset_gap_s: float = 1.0

    def __post_init__(self) -> None:
        _require(self.prior in PRIORS, f"prior {self.prior!r} is not one of {', '.join(PRIORS)}")
        _require(
            self.precision in PRECISIONS,
            f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}",
        )
        _require(self.runtime in RUNTIMES, f"runtime {self.runtime!r} is not one of {', '.join(RUNTIMES)}")
        _require(
            1 <= self.iterations <= MAX_ITERATIONS,
            f"iterations {self.iterations} is outside 1..{MAX_ITERATIONS}",
        )
        for measure in GATE_MEASURES:
            close, open_ = self.gate_limits(measure)
            _require(
                0 <= close <= open_,
                f"gate_close_{measure} {close} is outside 0..gate_open_{measure} ({open_})",
            )
        for name in ("score_threshold", "tracked_score_threshold", "confidence_threshold"):
            _require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is outside 0..1")
        for name in ("max_latency_ms", "water_interval_s", "obstruction_average_s", "dirt_after_s"):
            _require(getattr(self, name) >= 0, f"{name} {getattr(self, name)} must be >= 0")
        _require(self.patience >= 1, f"patience {self.patience} must be >= 1")
        for name in ("recover_after_s", "reset_gap_s"):
            _require(getattr(self, name) > 0, f"{name} {getattr(self, name)} must be > 0")

    def gate_limits(self, measure: str) -> tuple[float, float]:
        """Below which value one of :data:`GATE_MEASURES` lets the gate close, and from which it opens it."""
        return getattr(self, f"gate_close_{measure}"), getattr(self, f"gate_open_{measure}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise EngineError(message)
