"""What can be set about the engine, and the ranges."""

from __future__ import annotations

from dataclasses import dataclass

from .scene import EngineError

PRIORS = ("closed_loop", "temporal", "none")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
MAX_ITERATIONS = 5


@dataclass(frozen=True)
class EngineSettings:
    """Settings of one engine; all but the first three may change while it runs.

    Attributes:
        model: a name under ``models/`` or the path of a model folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        prior: where the semantic prior comes from: ``closed_loop`` (parse, refine,
            repeated), ``temporal`` (the previous frame's, one refinement) or ``none``.
        iterations: refinements of ``closed_loop``, 1..5.
        gate: pass dry frames on untouched.
        gate_open_mm_h, gate_close_mm_h: the gate opens above the first rate and closes
            below the second.
        score_threshold: detections below this score are left out.
        confidence_threshold: pixels below this class probability are unlabelled.
        max_latency_ms: time budget of a frame; 0 = none.
        patience: frames over budget in a row before a step down the ladder.
        recover_after_s: quiet time before a step up, in seconds of the frames' stamps.
        reset_gap_s: a gap between stamps above this, or a step back, resets the memory.
    """

    model: str = "loopnet"
    device: str = "auto"
    precision: str = "auto"
    prior: str = "temporal"
    iterations: int = 3
    gate: bool = True
    gate_open_mm_h: float = 5.0
    gate_close_mm_h: float = 2.5
    score_threshold: float = 0.3
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
        _require(
            1 <= self.iterations <= MAX_ITERATIONS,
            f"iterations {self.iterations} is outside 1..{MAX_ITERATIONS}",
        )
        _require(
            0 <= self.gate_close_mm_h <= self.gate_open_mm_h,
            f"gate_close_mm_h {self.gate_close_mm_h} is outside 0..gate_open_mm_h ({self.gate_open_mm_h})",
        )
        for name in ("score_threshold", "confidence_threshold"):
            _require(0 <= getattr(self, name) <= 1, f"{name} {getattr(self, name)} is outside 0..1")
        _require(self.max_latency_ms >= 0, f"max_latency_ms {self.max_latency_ms} must be >= 0")
        _require(self.patience >= 1, f"patience {self.patience} must be >= 1")
        for name in ("recover_after_s", "reset_gap_s"):
            _require(getattr(self, name) > 0, f"{name} {getattr(self, name)} must be > 0")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise EngineError(message)
