"""Counterfactual rain: the same drive with rain rendered onto it, held against the dry run.

The dry run's own outputs are the reference, so that no labels are needed: label maps that
agree with the dry run's (mIoU), boxes that find the dry run's (AP50), pictures that come
close to the dry ones (PSNR, SSIM). ``rain`` is the parser on the rainy picture: what the
rain costs. ``derained`` is the whole loop: what is left of that cost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ros2_derain.engine import Engine, Frame, LoadedModel, Perception, Scene
from ros2_derain.evaluate.labelled_clip import Sample
from ros2_derain.evaluate.scores import ParserScore, empty_perception, to_boxes
from ros2_derain.metrics import Boxes, confusion, mean_iou, psnr, ssim
from ros2_derain.rain import Rain
from ros2_derain.rain_media.rendering import RainOverlay
from ros2_derain.replay.frame_records import number
from ros2_derain.reporting.statistics import finite

WAYS = ("rain", "derained")
SCORES = ("miou", "ap50")
"""Figures of agreement: 1 is what the dry run reaches with itself."""


class InjectedRain:
    """One rain rate over all cameras: keeps the figures of every frame.

    Args:
        rate: mm/h.
        seed: of the drops; each camera sees drops of its own.
        model: its classes and objects.
    """

    def __init__(self, rate: float, seed: int, model: LoadedModel) -> None:
        self.rate = rate
        self.overlay = RainOverlay(f"{rate:g}", Rain(rate), seed)
        identity = model.identity
        self._objects = identity.object_names
        self._classes = len(identity.class_names)
        self._truth: list[Boxes] = []
        self._parsers = {
            way: ParserScore(identity.class_names, identity.object_names, self._truth) for way in WAYS
        }
        self._pictures: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}

    def add(self, frame: Frame, engine: Engine, camera: int, dry: Perception) -> tuple[dict, Frame, Scene]:
        """Rain on a frame, and everything about it.

        Args:
            frame: of the dry drive.
            engine: of this camera and this rate.
            camera: the camera's number.
            dry: what the dry run saw in it.

        Returns:
            the frame's figures, JSON-ready; the rainy frame; its scene.
        """
        rainy = self.overlay.render(frame.image, frame.stamp_ns / 1e9, camera)
        wet = Frame(frame.stamp_ns, frame.frame_id, rainy)
        scene = engine.process(wet)
        found = {"rain": engine.interpreter.interpret(rainy).perception, "derained": scene.perception}
        images = {"rain": rainy, "derained": scene.image}
        self._truth.append(to_boxes(dry.detections, self._objects, scored=False))
        record = {"rain_mm_h": number(scene.rain.rate), "mode": scene.mode.value}
        for way in WAYS:
            perception = found[way] or empty_perception(*dry.labels.shape)
            self._parsers[way].add(perception, Sample(0.0, Path(), frame.image, dry.labels), None)
            quality = psnr(images[way], frame.image), ssim(images[way], frame.image)
            self._pictures[way].append(quality)
            record[way] = {
                "psnr_db": number(quality[0]),
                "ssim": number(quality[1]),
                "miou": number(mean_iou(confusion(perception.labels, dry.labels, self._classes))),
                "detections": len(perception.detections),
            }
        return record, wet, scene

    def figures(self) -> dict:
        """Over all frames: PSNR and SSIM (means), mIoU, AP50, both per class, and ``recovery``."""
        found = {way: self._of(way) for way in WAYS}
        found["recovery"] = {key: recovery(found["rain"][key], found["derained"][key]) for key in SCORES}
        return {"rate_mm_h": self.rate, "frames": len(self._truth), **found}

    def _of(self, way: str) -> dict:
        counted = self._parsers[way].figures()
        kept = {key: counted[key] for key in ("miou", "pixel_accuracy", "ap50", "iou")}
        kept["ap50_per_class"] = {name: values["ap50"] for name, values in counted["boxes"].items()}
        means = np.mean(self._pictures[way], axis=0) if self._pictures[way] else (np.nan, np.nan)
        return {"psnr_db": finite(means[0]), "ssim": finite(means[1]), **kept}


def recovery(rain: float | None, derained: float | None) -> float | None:
    """Share of what the rain took that came back: (derained - rain) / (1 - rain); None: it took nothing."""
    if rain is None or derained is None or rain >= 1:
        return None
    return (derained - rain) / (1 - rain)
