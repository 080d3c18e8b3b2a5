"""Networks that are ONNX files as parts of a model: what they get, what they return, and who is who."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ros2_derain.models import ModelCard, ModelError
from ros2_derain.networks.enlarging import EnlargingParser
from ros2_derain.onnx_parts import OnnxPart

from .derainer import OnnxDerainer, TranslatingDerainer
from .detector import Detector
from .parser import ComposedParser, OnnxParser, Segmentation
from .preparation import Run

__all__ = ["assembled", "own_parts"]


def own_parts(card: ModelCard, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the parts for which the model has weights of its own that are used."""
    return tuple(part for part in parts if not _is_replaced(card, part))


def assembled(
    card: ModelCard, parts: tuple[str, ...], own: Mapping[str, Any], load: Callable[[OnnxPart], Run]
) -> dict[str, Any]:
    """The networks of a model as the engine calls them: ``derainer``, ``parser``, ``gauge``.

    Args:
        card: of the model.
        parts: which of them.
        own: the model's own networks, of :func:`own_parts`.
        load: makes the network of an ONNX file.

    Raises:
        ModelError: the card has no network for a part; or as ``load``.
    """
    made = dict(own)
    if "parser" in parts and "parser" in card.onnx:
        made["parser"] = OnnxParser(load(card.onnx["parser"]), card.onnx["parser"])
    if "parser" in made and made["parser"].enlarged_below:
        made["parser"] = EnlargingParser(made["parser"])
    if "parser" in parts and ("segmentation" in card.onnx or "detector" in card.onnx):
        made["parser"] = _composed(card, made.get("parser"), load)
    if "derainer" in parts and "derainer" in card.onnx:
        made["derainer"] = OnnxDerainer(load(card.onnx["derainer"]), card.onnx["derainer"])
    elif "derainer" in made and card.prior is not None and made["derainer"].takes_prior:
        own_classes = card.prior.classes
        meanings = (card.prior.meaning.get(name) for name in card.classes)
        table = tuple(None if name is None else own_classes.index(name) for name in meanings)
        made["derainer"] = TranslatingDerainer(made["derainer"], table, len(own_classes))
    if missing := [part for part in parts if part not in made]:
        raise ModelError(f"the card of {card.name} has no {missing[0]}: name its network or its ONNX file")
    return made


def _is_replaced(card: ModelCard, part: str) -> bool:
    return part in card.onnx or part == "parser" and {"segmentation", "detector"} <= card.onnx.keys()


def _composed(card: ModelCard, own: Any, load: Callable[[OnnxPart], Run]) -> ComposedParser:
    segmentation, detector = card.onnx.get("segmentation"), card.onnx.get("detector")
    for part, names, what in ((segmentation, card.classes, "classes"), (detector, card.objects, "objects")):
        if part is not None and part.classes != names:
            raise ModelError(f"the card of {card.name}: {what} are not those of {part.file}: make them equal")
    return ComposedParser(
        own,
        None if segmentation is None else Segmentation(load(segmentation), segmentation),
        None if detector is None else Detector(load(detector), detector),
    )
