"""Labelled images that are no clip, such as real frames of several weathers: rows for each group of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ros2_derain.evaluate import evaluation
from ros2_derain.evaluate.conditions import Condition, GridEvaluation, box_rows, measure_grid
from ros2_derain.evaluate.evaluation import ResultCache
from ros2_derain.evaluate.gate import GLASS
from ros2_derain.evaluate.perception_in_rain import COLUMNS, class_table, drawn_scene, legend
from ros2_derain.reporting import tables
from ros2_derain.reporting.page import Report, Section, Strip, Strips, Table, Tile

ALL = "all"
"""The group of all images."""
CAMERA = "input"
"""The row of the camera's image, without rendered rain."""


class LabelledStills(GridEvaluation):
    """A model on labelled stills, with rain rendered onto them or as they are."""

    def measure(self, cache: ResultCache) -> dict:
        """See :meth:`Evaluation.measure`: a row for each group, rain rate, input and parser."""
        measured = measure_grid(self.setup, self.grid, cache)
        groups = list(self.setup.clip.groups)
        rows = self._rows(ALL, len(groups), measured)
        for group in sorted({*groups} - {""}, reverse=True):
            of_group = {condition: figures["groups"][group] for condition, figures in measured.items()}
            rows = self._rows(group, groups.count(group), of_group) + rows
        return {
            **self.provenance,
            "frames": len(groups),
            "rows": rows,
            "images": list(self._readings(measured)),
        }

    def _readings(self, measured: Mapping[Condition, dict]) -> Iterator[dict]:
        """What gauge and gate said of each image, in each rain, before the first restored input."""
        clip, first = self.setup.clip, self.grid.inputs[0]
        for condition, figures in measured.items():
            if condition.input != first:
                continue
            for number, index in enumerate(clip.indices):
                yield {
                    "image": clip.dataset.images[index].name,
                    "group": clip.groups[number],
                    "rate_mm_h": condition.rate,
                    "seed": condition.seed,
                    **{key: values[number] for key, values in figures["gauge"].items()},
                }

    def _rows(self, group: str, frames: int, measured: Mapping[Condition, dict]) -> list[dict]:
        """The rows of a group, with what the gauge said of the loop's."""
        read: dict[tuple[float, str], list[Mapping]] = {}
        for condition, figures in measured.items():
            if figures["gauge"]:
                read.setdefault((condition.rate, condition.input.name), []).append(figures["gauge"])
        rows = []
        for row in self.grid.rows(measured):
            name = row["input"]
            said = _gauge(read[row["rate_mm_h"], name]) if (row["rate_mm_h"], name) in read else {}
            row |= {"input": CAMERA if name == "dry" else name.replace(": dry", f": {CAMERA}")} | said
            rows.append({"group": group, "frames": frames, **row})
        return rows

    def summary(self, result: Mapping) -> str:
        """See :meth:`Evaluation.summary`: all rows, IoU and boxes of each class."""
        rows = result["rows"]
        parts = [tables.table(rows)]
        if self.setup.clip.has_labels:
            by_class = class_table(rows)
            parts.append(f"{by_class.title}\n{tables.aligned(by_class.columns, by_class.rows)}")
        if self.setup.boxes is not None:
            parts.append(tables.table(_grouped_box_rows(rows)))
        return "\n\n".join(parts)

    def report(self, result: Mapping) -> Report:
        """See :meth:`Evaluation.report`: the tables, and the middle image of each group."""
        rows = result["rows"]
        sections: list[Section] = [self._strips(), Table("Every row", "", *tables.cells(rows))]
        if self.setup.clip.has_labels:
            sections.append(class_table(rows))
        images = sorted(result["images"], key=lambda one: one["group"])
        sections.append(Table("What the gauge saw in every image", "", *tables.cells(images)))
        if self.setup.boxes is not None:
            sections.append(Table("Boxes of each class", "", *tables.cells(_grouped_box_rows(rows))))
        figure, name = ("miou", "mIoU") if self.setup.clip.has_labels else ("ap50", "AP50")
        loop = self.grid.inputs[0].name
        reached = {(row["group"], row["input"]): tables.percent(row[figure]) for row in rows}
        return Report(
            title="Perception on labelled frames",
            subtitle=evaluation.model_on(result, f"{result['frames']} frames of {result['data']['name']}"),
            verdict=". ".join(
                f"{group}: {name} {reached[group, CAMERA]} %, in the loop ({loop}) {reached[group, loop]} %"
                for group in dict.fromkeys(row["group"] for row in rows)
            )
            + ".",
            tiles=[Tile(f"{name} of all", f"{reached[ALL, loop]} %", f"input {reached[ALL, CAMERA]} %")],
            sections=sections,
        )

    def _strips(self) -> Strips:
        return Strips(
            title="The middle of each group",
            text=f"Restored and parsed by the loop ({self.grid.inputs[0].name}).",
            columns=("Input", *COLUMNS[1:]),
            strips=list(self._examples()),
            legend=legend(self.setup.engine),
        )

    def _examples(self) -> Iterator[Strip]:
        setup = self.setup
        setup.use(self.grid.inputs[0])
        groups = setup.clip.groups
        for group in sorted(set(groups)):
            members = [index for index, one in enumerate(groups) if one == group]
            sample = setup.clip[members[len(members) // 2]]
            scene, perception = evaluation.process(setup.engine, sample.image, sample.path)
            drawn = drawn_scene(scene.image, perception, setup.engine.identity.colours)
            caption = f"{group} {sample.path.name} · {scene.rain.rate:.1f} mm/h".strip()
            yield Strip(caption, (sample.image, scene.image, drawn))


def _gauge(readings: Sequence[Mapping[str, list]]) -> dict:
    """What gauge and gate said over the images of a group, of all seeds."""
    joined = {key: np.concatenate([one[key] for one in readings]) for key in readings[0]}
    figures = {"read_mm_h": joined["read_mm_h"].mean(), "read_median_mm_h": np.median(joined["read_mm_h"])}
    shares = {key: joined[key].mean() for key in ("gate_open", "untouched", *GLASS) if key in joined}
    return {key: float(value) for key, value in (figures | shares).items()}


def _grouped_box_rows(rows: Sequence[Mapping]) -> list[dict]:
    return [{"group": row["group"], **of_class} for row in rows for of_class in box_rows([row])]
