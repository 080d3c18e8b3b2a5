"""The parser half of the loop: label map, confidence, boxes and the semantic prior of an image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ros2_derain.networks import Parse, prior_from_logits
from ros2_derain.networks.scene_parser import LevelOutput, decode

from .loaded_model import LoadedModel
from .scene import UNLABELLED, Detection, Perception
from .settings import EngineSettings

MAX_CANDIDATES = 300
NMS_OVERLAP = 0.6


@dataclass(frozen=True)
class Interpretation:
    """The parser's output for an image.

    Attributes:
        perception: labels, confidence, detections.
        prior: K x ceil(H/8) x ceil(W/8) uint8 on the device, probabilities * 255.
    """

    perception: Perception
    prior: Tensor


class Interpreter:
    """Parses images; keeps nothing from one to the next.

    Args:
        model: with ``parser``.
        settings: may be replaced at any time.
    """

    def __init__(self, model: LoadedModel, settings: EngineSettings):
        self.identity = model.identity
        self.settings = settings
        self.runtime = model.runtime
        self._parser = model.networks["parser"]

    @classmethod
    def load(cls, settings: EngineSettings) -> Interpreter:
        """Load the parser half of ``settings.model``; raises as :meth:`LoadedModel.load`."""
        return cls(LoadedModel.load(settings, ("parser",)), settings)

    def warm_up(self, height: int, width: int) -> None:
        """Run every path at this size, so that the first frame is not slower."""
        for _ in range(2):
            self.interpret(np.zeros((height, width, 3), np.uint8))
        self.runtime.synchronize()

    @torch.inference_mode()
    def interpret(self, image: np.ndarray | Tensor) -> Interpretation:
        """Everything about one image.

        Args:
            image: H x W x 3 uint8 RGB, or 1 x 3 x H x W float32 in 0..1 on the device; H, W >= 64.

        Raises:
            RuntimeError: the device failed or the output is not finite.
        """
        tensor = image if isinstance(image, Tensor) else self.runtime.tensor(image)
        parse = self._parser(tensor)
        prior = _quantised(prior_from_logits(parse.logits))
        size = tensor.shape[-2], tensor.shape[-1]
        labels, confidence = self._label(parse, size)
        return Interpretation(Perception(labels, confidence, self._detect(parse.levels, size)), prior)

    @torch.inference_mode()
    def prior(self, image: Tensor) -> Tensor:
        """The prior alone (K x h x w uint8 on the device) of a 1 x 3 x H x W image in 0..1."""
        return _quantised(prior_from_logits(self._parser(image).logits))

    def _label(self, parse: Parse, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """H x W labels and confidences: bilinear to stride 2, decided there, nearest to full size."""
        half = functional.interpolate(
            parse.logits.softmax(1), scale_factor=2, mode="bilinear", align_corners=False
        )
        confidence, labels = half[0].max(0)
        if not torch.isfinite(confidence.sum()):
            raise RuntimeError("the parser's output is not finite")
        labels = labels.to(torch.uint8)
        labels[confidence < self.settings.confidence_threshold] = UNLABELLED
        confidence = confidence.mul(255).add_(0.5).to(torch.uint8)
        return _doubled(labels.cpu().numpy(), size), _doubled(confidence.cpu().numpy(), size)

    def _detect(self, levels: tuple[LevelOutput, ...], size: tuple[int, int]) -> tuple[Detection, ...]:
        if not levels:
            return ()
        all_scores, all_boxes = decode(levels)
        best, best_class = all_scores[0].max(1)
        kept = torch.nonzero(best >= self.settings.score_threshold)[:, 0]
        kept = kept[best[kept].argsort(descending=True, stable=True)[:MAX_CANDIDATES]]
        scores, classes, boxes = (t[kept].cpu().numpy() for t in (best, best_class, all_boxes[0]))
        height, width = size
        boxes = boxes.clip(0, (width, height, width, height))
        names = self.identity.object_names
        return tuple(
            Detection(names[classes[i]], float(scores[i]), *map(float, boxes[i]))
            for i in suppress(boxes, scores, classes)
        )


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: M x 4 (x0, y0, x1, y1); scores, classes: M.

    Returns:
        indices of the boxes that stay, best score first; empty boxes never do.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    solid = np.flatnonzero((sides > 0).all(1))
    if not len(solid):
        return []
    apart = (boxes.max() + 1) * classes[solid, None]
    rectangles = np.hstack((boxes[solid, :2] + apart, sides[solid])).astype(float)
    kept = cv2.dnn.NMSBoxes(rectangles.tolist(), scores[solid].astype(float).tolist(), 0.0, NMS_OVERLAP)
    return [int(solid[i]) for i in np.asarray(kept, int).ravel()]


def _quantised(prior: Tensor) -> Tensor:
    return prior[0].mul(255).add_(0.5).to(torch.uint8)


def _doubled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour by 2, cropped to H x W."""
    height, width = size
    twice = cv2.resize(plane, (2 * plane.shape[1], 2 * plane.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(twice[:height, :width])
