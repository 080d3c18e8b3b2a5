"""The parser half of the loop: label map, confidence, boxes and the semantic prior of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks import Candidates
from ros2_derain.networks.scene_parser import LOGIT_STRIDE, prior_from_probabilities

from .loaded_model import LoadedModel, to_bytes
from .scene import UNLABELLED, Detection, Frame, Perception
from .settings import EngineSettings
from .tracking import Tracks

MAX_CANDIDATES = 1000
LABEL_STRIDE = 2
"""Labels are decided at half the size of the image."""
NO_CLASS = 1e-6
"""Probability below which a pixel is unlabelled at any threshold."""


class Parsed(Protocol):
    """What a parser returns of an image: a network's :class:`~ros2_derain.networks.Parse`, or an equal."""

    def probabilities(self) -> Tensor:
        """1 x K x ceil(H/s) x ceil(W/s) class probabilities at stride s = 2 or 4."""

    def candidates(self) -> Candidates:
        """The boxes."""


@dataclass(frozen=True)
class Interpretation:
    """The parser's output for an image.

    Attributes:
        perception: labels, confidence, detections.
        weak: detections that count where they continue a track: of a score below ``score_threshold``.
        prior: K x ceil(H/8) x ceil(W/8) uint8 on the device, probabilities * 255.
        prior_levels: the same on the host.
    """

    perception: Perception
    weak: tuple[Detection, ...]
    prior: Tensor
    prior_levels: np.ndarray


class Interpreter:
    """Parses images; keeps the tracks of one camera's detections from one to the next, and nothing else.

    Args:
        model: with ``parser``.
        settings: may be replaced at any time.
    """

    def __init__(self, model: LoadedModel, settings: EngineSettings):
        self.identity = model.identity
        self.settings = settings
        self.placement = model.placement
        self._prepare = model.prepare
        self.tracks = Tracks()
        self._parser = model.networks["parser"]

    @classmethod
    def load(cls, settings: EngineSettings) -> Interpreter:
        """Load the parser half of ``settings.model``; raises as :meth:`LoadedModel.load`."""
        return cls(LoadedModel.load(settings, ("parser",)), settings)

    def warm_up(self, height: int, width: int) -> None:
        """Run every path at this size, so that the first frame is not slower."""
        self._prepare(height, width)
        for _ in range(2):
            self.interpret(np.zeros((height, width, 3), np.uint8))
        self.placement.synchronize()

    @torch.inference_mode()
    def interpret(self, image: np.ndarray | Tensor) -> Interpretation:
        """Everything about one image, apart from the ids of its detections.

        Args:
            image: H x W x 3 uint8 RGB, or 1 x 3 x H x W float32 in 0..1 on the device; H, W >= 64.

        Raises:
            RuntimeError: the device failed or the output is not finite.
        """
        tensor = image if isinstance(image, Tensor) else self.placement.tensor(image)
        size = tensor.shape[-2], tensor.shape[-1]
        parsed: Parsed = self._parser(tensor)
        probabilities = parsed.probabilities()
        labels, levels = self._label(probabilities, size)
        prior = _prior(probabilities, size)
        candidates = parsed.candidates()
        best, best_class = candidates.scores[0].max(1)
        found = labels, levels, probabilities.sum(), best, best_class, candidates.boxes[0], prior
        label_map, confidences, total, scores, classes, boxes, prior_levels = self.placement.download(*found)
        if not np.isfinite(total):
            raise RuntimeError("the parser's class probabilities are not finite")
        strong, weak = self._detect(scores, classes, boxes, candidates.overlap, size)
        perception = Perception(_doubled(label_map, size), _doubled(confidences, size), strong)
        return Interpretation(perception, weak, prior, prior_levels)

    def identified(self, frame: Frame, found: Interpretation) -> Interpretation:
        """The parser's output for a frame, with the ids of the tracks; frames are given in order.

        Its detections are the strong ones, and the weak ones that continue a track.
        """
        detections = found.perception.detections + found.weak
        score, gap_s = self.settings.score_threshold, self.settings.reset_gap_s
        named = self.tracks.identify(frame, detections, score, gap_s)
        return replace(found, perception=replace(found.perception, detections=named), weak=())

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray) -> Tensor:
        """The class probabilities alone of an H x W x 3 uint8 RGB image.

        Returns:
            1 x K x ceil(H/s) x ceil(W/s) at stride s = 2 or 4, on the device.
        """
        parsed: Parsed = self._parser(self.placement.tensor(image))
        return parsed.probabilities()

    @torch.inference_mode()
    def prior(self, image: Tensor) -> Tensor:
        """The prior alone (K x h x w uint8 on the device) of a 1 x 3 x H x W image in 0..1."""
        return _prior(self._parser(image).probabilities(), (image.shape[-2], image.shape[-1]))

    def _label(self, probabilities: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Labels and confidences at stride 2: bilinear to there, then decided. Two uint8 maps."""
        scale = _stride(probabilities, size) // LABEL_STRIDE
        threshold = max(self.settings.confidence_threshold, NO_CLASS)
        if probabilities.device.type == "cpu":
            planes = probabilities[0].float().contiguous().numpy()
            labels, levels = _decided(planes, scale, threshold)
            return torch.from_numpy(labels), torch.from_numpy(levels)
        if scale > 1:
            probabilities = functional.interpolate(
                probabilities, scale_factor=scale, mode="bilinear", align_corners=False
            )
        confidence, classes = probabilities[0].max(0)
        marked = classes.to(torch.uint8).masked_fill_(confidence < threshold, UNLABELLED)
        return marked, confidence.mul(255).add_(0.5).to(torch.uint8)

    def _detect(
        self, best: np.ndarray, classes: np.ndarray, boxes: np.ndarray, overlap: float, size: tuple[int, int]
    ) -> tuple[tuple[Detection, ...], tuple[Detection, ...]]:
        """Strong and weak detections of the cells' best scores (P), their classes (P) and boxes (P x 4)."""
        settings = self.settings
        least = min(settings.score_threshold, settings.tracked_score_threshold)
        kept = np.flatnonzero(~(best < least))  # NaN is kept, and refused below
        kept = kept[np.argsort(-best[kept], kind="stable")[:MAX_CANDIDATES]]
        scores, classes, boxes = best[kept], classes[kept], boxes[kept]
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise RuntimeError("the detector's scores or boxes are not finite")
        height, width = size
        boxes = boxes.clip(0, (width, height, width, height))
        names = self.identity.object_names
        found = [
            Detection(names[classes[i]], float(scores[i]), *boxes[i].tolist())
            for i in suppress(boxes, scores, classes, overlap)
        ]
        strong = sum(each.score >= settings.score_threshold for each in found)
        return tuple(found[:strong]), tuple(found[strong:])


def _decided(planes: np.ndarray, scale: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest class of each pixel and its probability, both uint8; several times as fast as PyTorch.

    Args:
        planes: K x h x w float32 probabilities.
        scale: by which they are enlarged before, bilinear.
        threshold: below which a pixel is unlabelled.
    """
    size = planes.shape[2] * scale, planes.shape[1] * scale
    best = cv2.resize(planes[0], size)
    labels = np.zeros(best.shape, np.uint8)
    for index, plane in enumerate(planes[1:], start=1):
        enlarged = cv2.resize(plane, size)
        cv2.copyTo(np.full_like(labels, index), cv2.compare(enlarged, best, cv2.CMP_GT), labels)
        cv2.max(enlarged, best, best)
    labels[best < threshold] = UNLABELLED
    return labels, to_bytes(best)


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, overlap: float) -> list[int]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: M x 4 (x0, y0, x1, y1); scores, classes: M.
        overlap: IoU above which the weaker of two boxes is dropped; 1: none is.

    Returns:
        indices of the boxes that stay, best score first; empty boxes never do.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    solid = np.flatnonzero((sides > 0).all(1))
    if overlap >= 1:
        return [int(i) for i in solid[np.argsort(-scores[solid], kind="stable")]]
    rectangles = np.hstack((boxes[solid, :2], sides[solid])).astype(float).tolist()
    kept = cv2.dnn.NMSBoxesBatched(
        rectangles, scores[solid].astype(float).tolist(), classes[solid].tolist(), 0.0, overlap
    )
    return [int(solid[i]) for i in np.asarray(kept, int).ravel()]


def _stride(probabilities: Tensor, size: tuple[int, int]) -> int:
    """Pixels of the image per cell, 2 or 4."""
    return LABEL_STRIDE if probabilities.shape[-1] == -(-size[1] // LABEL_STRIDE) else LOGIT_STRIDE


def _prior(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    prior = prior_from_probabilities(probabilities, _stride(probabilities, size))
    return prior[0].mul(255).add_(0.5).to(torch.uint8)


def _doubled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour by 2, cropped to H x W."""
    height, width = size
    twice = cv2.resize(plane, (2 * plane.shape[1], 2 * plane.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(twice[:height, :width])
