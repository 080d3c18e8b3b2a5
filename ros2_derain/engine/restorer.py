"""The derain half of the loop: gauge and gate, derainer, ladder, memory of the last frame."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from ros2_derain.networks import film
from ros2_derain.networks.derainer import Restoration, restoration_of
from ros2_derain.networks.inpainting import Inpainter
from ros2_derain.networks.rain_gauge import MAX_RATE, gauge_input
from ros2_derain.networks.weather_gauge import Water, water_input

from .control import FrameClock, Gate, Ladder
from .loaded_model import LoadedModel, to_bytes, to_levels
from .scene import EngineError, Frame, Mode, RainEstimate, Restored, View, passed_through
from .settings import EngineSettings
from .view import ViewTracker, seen_through

MIN_SIDE = 64
"""Pixels; the smallest height and width the networks take."""

TRUST_SCALE = 16 / 255
"""Expected error at which the trust has fallen to 1/e."""


class PriorSource(Protocol):
    """Where semantic priors come from; None means: not available in time."""

    def previous(self, stamp_ns: int) -> Tensor | None:
        """The K x h x w uint8 prior of the frame with this stamp (temporal mode)."""

    def parse(self, frame: Frame, clean: Tensor) -> Tensor | None:
        """The prior of the frame's intermediate image ``clean`` (1 x 3 x H x W, 0..1; closed loop)."""


@dataclass(frozen=True)
class _Memory:
    """What is kept of the previous frame."""

    stamp_ns: int
    state: Tensor | None


class Restorer:
    """Restores the frames of one camera, in order.

    A frame's time is compared with the budget when the next one arrives, so that the parser's
    share, added to ``Restored.milliseconds``, counts too.

    Args:
        model: with ``derainer`` and ``gauge``.
        settings: may be replaced at any time.
    """

    def __init__(self, model: LoadedModel, settings: EngineSettings):
        self.identity = model.identity
        self.settings = settings
        self.placement = model.placement
        self._prepare = model.prepare
        self._derainer = model.networks["derainer"]
        self._gauge = model.networks["gauge"]
        self._gate = Gate()
        self._view = ViewTracker()
        self._inpainter = Inpainter()
        self._ladder = Ladder()
        self._clock = FrameClock()
        self._memory: _Memory | None = None
        self._camera: tuple[str, tuple[int, ...]] | None = None
        self._last: Restored | None = None

    @classmethod
    def load(cls, settings: EngineSettings) -> Restorer:
        """Load the derain half of ``settings.model``; raises as :meth:`LoadedModel.load`."""
        return cls(LoadedModel.load(settings, ("derainer", "gauge")), settings)

    @property
    def step(self) -> Mode:
        """The ladder's step in force."""
        return self._ladder.step

    def reset(self) -> None:
        """Drop the state of the previous frame; the ladder keeps its step."""
        self._memory = None
        self._gate.reset()
        self._view.reset()
        self._inpainter.reset()

    def warm_up(self, height: int, width: int) -> None:
        """Run every path once at this size, so that the first frame is not slower."""
        self._prepare(height, width)
        image = np.zeros((height, width, 3), np.uint8)
        state = None
        with torch.inference_mode():
            for _ in range(2):
                tensor = self.placement.tensor(image)
                self._gauge(gauge_input(tensor))
                if self._gauge.sees_water:
                    seen = water_input(tensor)
                    self._gauge.water(seen, seen)
                estimate = self._derainer.coarse(tensor, state)
                state = estimate.state
                for prior in (None, torch.zeros(self._prior_shape(height, width), dtype=torch.uint8)):
                    estimate = self._derainer.refine(tensor, estimate, self._prepared(prior))
                    self._derainer.once(tensor, state, self._prepared(prior))
                self.placement.download(to_levels(estimate.image.clamp(0, 1)), _trust(estimate.error))
        self.placement.synchronize()

    @torch.inference_mode()
    def restore(self, frame: Frame, priors: PriorSource) -> Restored:
        """The clean image of a frame.

        A device error or a non-finite output raises nothing: the ladder steps down, and the raw
        image is returned with ``fault`` set.

        Raises:
            EngineError: the image is not H x W x 3 uint8 with H, W >= 64.
        """
        _check(frame)
        self._begin(frame)
        started = time.perf_counter()
        try:
            restored = self._process(frame, priors, started)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            self.fault()
            restored = passed_through(frame, f"{type(error).__name__}: {_first_line(error)}")
        restored.milliseconds["total"] = _since(started)
        self._last = restored
        return restored

    def fault(self) -> None:
        """The last frame failed: step down, drop its memory."""
        self._ladder.fault(self._clock.time_ns)
        self._memory = None

    def _process(self, frame: Frame, priors: PriorSource, started: float) -> Restored:
        step = self._ladder.step
        if step is Mode.PASS_THROUGH:
            self._memory = None
            return passed_through(frame)
        rainy = self.placement.tensor(frame.image)
        rain, view, obstruction = self._observe(frame, rainy)
        measured = {"mm_h": rain.rate, "coverage": view.coverage, "contrast_loss": view.contrast_loss}
        is_open = self._gate.update(measured, self.settings, self._clock.time_ns)
        milliseconds = {"gate": _since(started)}
        if self.settings.gate and not is_open:
            self._memory = _Memory(frame.stamp_ns, None)
            self._inpainter.remember(frame.image)
            trust = seen_through(np.full(frame.image.shape[:2], 255, np.uint8), obstruction)
            return Restored(
                frame, frame.image, rainy, trust, rain, Mode.DRY,
                milliseconds=milliseconds, view=view, obstruction=obstruction,
            )  # fmt: skip
        seen = rainy
        if self.settings.restore_contrast:
            rainy = film.unveiled(seen, film.given_back(view.contrast_loss))
        if self.settings.gate and "mm_h" not in self._gate.open_for:
            estimate, iterations, missed = restoration_of(seen, rainy), 0, False
        else:
            estimate, iterations, missed = self._derain(frame, rainy, step, priors)
        clean = estimate.image.clamp(0, 1)
        image, trust, total = self.placement.download(
            to_levels(clean), _trust(estimate.error), estimate.image.sum() + estimate.error.sum()
        )
        if not math.isfinite(total):
            raise RuntimeError("the derainer's output is not finite")
        self._memory = _Memory(frame.stamp_ns, estimate.state)
        if obstruction is not None and self.settings.fill_hidden:
            image, clean = self._filled(image, clean, obstruction)
        milliseconds["derain"] = _since(started) - milliseconds["gate"]
        return Restored(
            frame,
            image,
            clean,
            seen_through(trust, obstruction),
            rain,
            step,
            iterations,
            missed,
            milliseconds=milliseconds,
            view=view,
            obstruction=obstruction,
        )

    def _filled(self, image: np.ndarray, clean: Tensor, obstruction: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """The clean image, on the host and on the device, without what water hides."""
        filled = self._inpainter.fill(image, obstruction)
        return filled, clean if filled is image else self.placement.tensor(filled)

    def _observe(self, frame: Frame, rainy: Tensor) -> tuple[RainEstimate, View, np.ndarray | None]:
        """What the gauge sees: the rain, and what hides the scene."""
        time_ns = self._clock.time_ns
        looks = self._gauge.sees_water and self._view.is_due(time_ns, self.settings)
        water: tuple[Tensor, ...] = ()
        if looks:
            image = water_input(rainy)
            water = self._gauge.water(image, self._view.recent(image, time_ns))
        rate, *parts = self.placement.download(self._gauge(gauge_input(rainy)), *water)
        if not all(np.isfinite(part).all() for part in (rate, *parts)):
            raise RuntimeError("the gauge's output is not finite")
        rain = RainEstimate(float(rate[0]), math.log1p(rate[0]) / math.log1p(MAX_RATE))
        seen = Water(*map(torch.from_numpy, parts)) if looks else None
        return rain, *self._view.update(frame, seen, time_ns, self.settings)

    def _derain(
        self, frame: Frame, rainy: Tensor, step: Mode, priors: PriorSource
    ) -> tuple[Restoration, int, bool]:
        """Derain as the step says; the estimate, the number of refinements, whether a prior was missed."""
        memory, derainer = self._memory, self._derainer
        state = memory.state if memory else None
        if step is Mode.DERAIN_ONLY or not derainer.takes_prior:
            return derainer.coarse(rainy, state), 0, False
        source = self.settings.prior if step is Mode.LOOP else "temporal"
        if source == "closed_loop":
            return self._close_loop(frame, rainy, derainer.coarse(rainy, state), priors)
        prior = priors.previous(memory.stamp_ns) if source == "temporal" and memory else None
        missed = source == "temporal" and memory is not None and prior is None
        return derainer.once(rainy, state, self._prepared(prior)), 1, missed

    def _close_loop(
        self, frame: Frame, rainy: Tensor, estimate: Restoration, priors: PriorSource
    ) -> tuple[Restoration, int, bool]:
        missed = False
        for iteration in range(self.settings.iterations):
            if iteration:
                estimate = self._derainer.again(rainy, estimate)
            prior = priors.parse(frame, estimate.image.clamp(0, 1))
            missed |= prior is None
            estimate = self._derainer.refine(rainy, estimate, self._prepared(prior))
        return estimate, self.settings.iterations, missed

    def _prepared(self, prior: Tensor | None) -> Tensor | None:
        """K x h x w uint8 from anywhere -> 1 x K x h x w in 0..1 on the device."""
        if prior is None:
            return None
        return prior.to(self.placement.device, non_blocking=True)[None].float() / 255

    def _prior_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return len(self.identity.class_names), -(-height // 8), -(-width // 8)

    def _begin(self, frame: Frame) -> None:
        """Update the ladder with the last frame's time; drop what this frame does not continue."""
        last, self._last = self._last, None
        settings = self.settings
        if last is not None and not last.fault:
            budget = settings.max_latency_ms
            over = budget > 0 and last.mode is not Mode.PASS_THROUGH and last.milliseconds["total"] > budget
            self._ladder.frame(self._clock.time_ns, over, settings.patience, settings.recover_after_s)
        gap_s = self._clock.advance(frame)
        camera, self._camera = self._camera, (frame.frame_id, frame.image.shape[:2])
        if gap_s is None or gap_s <= 0 or camera != self._camera:
            self.reset()
        elif gap_s > settings.reset_gap_s:
            self._memory = None
            self._gate.reset()
            self._view.pause()
            self._inpainter.reset()


def _check(frame: Frame) -> None:
    image = frame.image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise EngineError(f"image is {image.shape} {image.dtype}: give H x W x 3 uint8 RGB")
    if min(image.shape[:2]) < MIN_SIDE:
        raise EngineError(
            f"image is {image.shape[1]}x{image.shape[0]}: give at least {MIN_SIDE}x{MIN_SIDE} pixels"
        )


def _trust(error: Tensor) -> Tensor:
    """Expected absolute error (1 x 1 x H x W, 0..1) -> H x W uint8 trust: 255 exp(-error / 16 levels)."""
    exponent = error[0, 0] * (-1 / TRUST_SCALE)
    if exponent.device.type == "cpu":
        return torch.from_numpy(to_bytes(cv2.exp(exponent.numpy())))
    return torch.exp(exponent).mul_(255).add_(0.5).to(torch.uint8)


def _since(started: float) -> float:
    return 1000 * (time.perf_counter() - started)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
