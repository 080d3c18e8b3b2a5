"""The report of a fleet: which bags need a look, and what the rain did over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from ros2_derain.replay.output_folder import REPORT
from ros2_derain.replay.report import bands_table, injected_sections
from ros2_derain.reporting.page import Report, Section, Table, Tile
from ros2_derain.reporting.tables import NONE, number, percent, rounded


def verdict(fleet: Mapping) -> str:
    """The fleet in a sentence."""
    bags, frames = fleet["bags"], fleet["frames"]
    parts = [f"{len(bags) - fleet['failed']} of {len(bags)} bags replayed, {frames['in']} frames"]
    if frames["unread"]:
        parts.append(f"{frames['unread']} frames could not be read")
    if fleet["below_criteria"]:
        parts.append(f"{fleet['below_criteria']} bags below the criteria or not whole")
    if fleet["rain"]["raining"] is not None:
        parts.append(f"rain on {rounded(fleet['rain']['raining'])} of the frames")
    return "; ".join(parts) + "."


def passed(fleet: Mapping) -> bool | None:
    """Whether every bag was replayed and is what it should be; None where nothing was demanded or wrong."""
    if fleet["failed"] or fleet["below_criteria"]:
        return False
    return True if any(row["passed"] for row in fleet["bags"]) else None


def build(fleet: Mapping, name: str) -> Report:
    """The page about a fleet."""
    total = fleet["latency_ms"].get("total")
    length = timedelta(seconds=round(sum(row.get("seconds", 0) for row in fleet["bags"])))
    sections: list[Section] = [
        _bags(fleet["bags"]),
        *injected_sections(fleet["injected"]),
        bands_table(fleet["bands"]),
    ]
    return Report(
        title=f"Fleet of {name}",
        subtitle=f"{len(fleet['bags'])} bags through {fleet['model'] or 'no model'}. "
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        passed=passed(fleet),
        verdict=verdict(fleet),
        problems=[f"{row['bag']}: {why}" for row in fleet["bags"] for why in _reasons(row)],
        tiles=[
            Tile(
                "Bags", f"{len(fleet['bags']) - fleet['failed']} / {len(fleet['bags'])}", f"{length} h in all"
            ),
            Tile("Frames", str(fleet["frames"]["in"]), f"{fleet['frames']['unread']} could not be read"),
            Tile("Rain", rounded(fleet["rain"]["raining"]), "of the frames"),
            Tile("Latency", f"{total['p95']:.0f} ms" if total else NONE, "p95 over all frames"),
        ],
        sections=sections,
    )


def _reasons(row: Mapping) -> list[str]:
    return [row["failed"]] if row["failed"] else row["why"]


def _bags(rows: list[Mapping]) -> Table:
    marks = {True: "✓ passed", False: "✗ failed", None: "–"}
    cells = []
    for row in rows:
        if row["failed"]:
            cells.append([row["bag"], "✗ not replayed", *7 * [NONE]])
            continue
        cells.append(
            [
                row["bag"],
                marks[row["passed"]],
                str(row["frames"]),
                str(row["unread"]),
                str(row["warned"]),
                percent(row["raining"], 0),
                number(row["mean_mm_h"]),
                number(row["latency_p95_ms"]),
                number(row["took_s"]),
            ]
        )
    columns = ("bag", "verdict", "frames", "not read", "warnings", "raining %", "mm/h", "p95 ms", "took s")
    links = ["" if row["failed"] else f"{quote(row['bag'])}/{REPORT}" for row in rows]
    return Table(
        "Bags", "Those that need a look first; the name leads to a bag's own report.", columns, cells, links
    )
