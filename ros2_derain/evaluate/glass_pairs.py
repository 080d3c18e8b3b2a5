"""Images that someone else wetted, with masks of what the drops hide: what of it is seen and won back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ros2_derain import overlay
from ros2_derain.data import RainPairs
from ros2_derain.data.images import check_same_size, read_image
from ros2_derain.engine import Engine
from ros2_derain.evaluate import EvaluationError, evaluation
from ros2_derain.evaluate.evaluation import Evaluation, ResultCache
from ros2_derain.evaluate.glass_clip import COLUMNS, glass_strip
from ros2_derain.evaluate.glass_scores import HIDDEN, GlassScore, PsnrByArea, gains
from ros2_derain.reporting import statistics, tables
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.progress import Progress

SHOWN = 8
"""Images in the report."""


@dataclass(frozen=True)
class GlassPairs(Evaluation):
    """A model on wet images, each on its own, with the dry ones and masks.

    Attributes:
        engine: of the model.
        pairs: wet and dry images.
        masks: by the name of the pair.
    """

    engine: Engine
    pairs: RainPairs
    masks: Mapping[str, Path]

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: the figures of every image, and their mean."""
        images = []
        with Progress("images", len(self.pairs)) as progress:
            for index, name in enumerate(self.pairs.names):
                images.append({"image": name, **cache.get(name, partial(self._score, index))})
                progress.step()
        figures = [{key: value for key, value in image.items() if key != "image"} for image in images]
        mean = {"image": f"mean of {len(images)}", **statistics.mean_row(figures)}
        return {**self.provenance, "frames": len(images), "rows": [mean], "images": images}

    def _score(self, index: int) -> dict:
        """The figures of one image; ``coverage_factor`` is the seen coverage by the true one."""
        pair, hidden = self.pairs[index], self._mask(index) >= HIDDEN
        seen = evaluation.restore(self.engine, pair.rain, pair.path)
        score, before, after = GlassScore(self.engine.restorer.settings), PsnrByArea(), PsnrByArea()
        score.add(pair.rain, seen, hidden)
        before.add(pair.rain, pair.clean, hidden)
        after.add(seen.image, pair.clean, hidden)
        figures = score.figures()
        if figures["coverage_true"] and "coverage" in figures:
            figures["coverage_factor"] = figures["coverage"] / figures["coverage_true"]
        clean = statistics.finite(evaluation.restore(self.engine, pair.clean, pair.path).view.coverage)
        if clean is not None:
            figures["coverage_clean"] = clean
        return {**figures, **after.figures(), **gains(after.figures(), before.figures())}

    def _mask(self, index: int) -> np.ndarray:
        pair = self.pairs[index]
        path = self.masks[pair.name]
        mask = read_image(path).max(axis=2)
        check_same_size(pair.rain, mask, pair.path, path)
        if 0 < mask.max() < HIDDEN:
            raise EvaluationError(f"{path} has no value above {mask.max()}: 255 must mean hidden by water")
        return mask

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`."""
        return tables.table([*result["images"], *result["rows"]])

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: means, all images, and some of them to look at."""
        (mean,), images = result["rows"], result["images"]
        factor, gain = (tables.number(mean.get(key), 2) for key in ("coverage_factor", "gain_hidden_db"))
        iou, hidden = tables.percent(mean.get("mask_iou")), tables.number(mean.get("psnr_hidden_db"), 2)
        shown = sorted({round(k * (len(images) - 1) / (SHOWN - 1)) for k in range(SHOWN)})
        return Report(
            title="Water on the glass",
            subtitle=evaluation.model_on(result, f"{len(images)} images of {result['data']['name']}"),
            verdict=(
                f"Mask IoU {iou} %; the coverage that is seen is {factor} times the true one; hidden pixels "
                f"gain {gain} dB."
            ),
            tiles=[
                Tile("Mask IoU", f"{iou} %"),
                Tile("Coverage", factor, "times the true one"),
                Tile("Hidden pixels", f"{hidden} dB", f"{gain} dB over the input"),
            ],
            sections=[
                Strips(
                    "Through the glass",
                    f"{len(shown)} of {len(images)}; seen and truly hidden pixels are marked.",
                    COLUMNS,
                    [self._strip(index) for index in shown],
                    [("hidden by water", overlay.WATER)],
                ),
                Table("Every image", "", *tables.cells([*images, mean])),
            ],
        )

    def _strip(self, index: int) -> Strip:
        pair = self.pairs[index]
        seen = evaluation.restore(self.engine, pair.rain, pair.path)
        return glass_strip(pair.name, pair.rain, seen, self._mask(index))
