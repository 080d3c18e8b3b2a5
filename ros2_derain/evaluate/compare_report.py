"""The table of ``ros2-derain evaluate compare``: for a terminal, as Markdown, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ros2_derain.data.images import read_image, split_side_by_side
from ros2_derain.evaluate.model_row import CLIP
from ros2_derain.reporting import tables
from ros2_derain.reporting.page import Report, Strip, Strips, Table, Tile
from ros2_derain.reporting.tables import Column, fixed, percentage

SETS = {"rain100l_dev": "Rain100L dev", "rain100h_dev": "Rain100H dev"}
PROTOCOL = (
    "Printed columns are copied from the papers and are not of the same protocol: all 100 pairs of each test "
    "set, training on the sets' own or other pairs, other GPUs, GMAC for 512x512. UBCN and PHP print nothing "
    "on Rain100; SAPNet's figures are on RGB."
)


def ours(result: Mapping) -> list[Column]:
    """Columns of what was measured here."""
    settings = result["settings"]
    width, height = settings["size"]
    return [
        Column("model", "model", str),
        Column("network", "network", str),
        *(Column(name, heading, _pair) for name, heading in SETS.items()),
        Column(CLIP, f"CamVid {settings['rate_mm_h']:g} mm/h", _pair),
        Column("miou", "mIoU %", percentage(1)),
        Column("ap50", "AP50 %", percentage(1)),
        Column("parser", "parser of", str),
        Column("parameters_m", "M parameters", fixed(3)),
        Column("gmac", f"GMAC {width}x{height}", fixed(1)),
        Column("derain_ms", "derain ms", fixed(0)),
        Column("frame_ms", "frame ms", fixed(0)),
    ]


PRINTED = (
    Column("printed_paper", "printed of", str),
    Column("printed_rain100l", "printed Rain100L", str),
    Column("printed_rain100h", "printed Rain100H", str),
    Column("printed_parameters_m", "printed M parameters", fixed(3)),
    Column("printed_gmac", "printed GMAC 512x512", fixed(2)),
    Column("printed_time", "printed time", str),
)
"""Columns of what the papers print."""


def summary(result: Mapping) -> str:
    """The figures and notes for a terminal: ours, then those that papers print beside them."""
    rows = result["rows"]
    parts = [tables.table(rows, ours(result))]
    if of_papers := _of_papers(rows):
        parts.append(tables.table(of_papers, _facing(result)))
    return "\n\n".join([*parts, "\n".join(_notes(result))])


def markdown(result: Mapping) -> str:
    """One table and its notes, for a document."""
    table = tables.markdown(result["rows"], (*ours(result), *PRINTED))
    return "\n".join([table, "", *(f"- {note}" for note in _notes(result)), ""])


def page(result: Mapping, out: Path) -> Report:
    """The figures, notes and a pair of each set as a page.

    Args:
        out: folder of the results, where each model's strips are.
    """
    rows = result["rows"]
    sections = [Table("Measured here", " ".join(_conditions(result)), *tables.cells(rows, ours(result)))]
    if of_papers := _of_papers(rows):
        sections.append(
            Table("Beside what the papers print", PROTOCOL, *tables.cells(of_papers, _facing(result)))
        )
        beside = list(_beside(rows).items())
        sections.append(Table("What the papers print besides", "", ("paper", "printed"), beside))
    sections += [_strips(rows, out, name, heading) for name, heading in SETS.items()]
    return Report(
        title="Models compared",
        subtitle=f"{_machine(result['machine'])}. {result['date']}, commit {result['commit']}",
        passed=None,
        verdict=_verdict(rows),
        problems=_missing(rows),
        tiles=_tiles(rows),
        sections=sections,
    )


def _of_papers(rows: Sequence[Mapping]) -> list[Mapping]:
    return [row for row in rows if "printed_paper" in row]


def _facing(result: Mapping) -> list[Column]:
    """Columns of our figures, each before the printed one."""
    by_key = {column.key: column for column in (*ours(result), *PRINTED)}
    keys = ["model", "printed_paper", "rain100l_dev", "printed_rain100l", "rain100h_dev", "printed_rain100h"]
    keys += ["parameters_m", "printed_parameters_m", "printed_gmac", "printed_time"]
    return [by_key[key] for key in keys]


def _strips(rows: Sequence[Mapping], out: Path, name: str, heading: str) -> Strips:
    shown = [row for row in rows if name in row and "folder" in row]
    strips = [
        Strip(row["model"], split_side_by_side(read_image(out / row["folder"] / f"{name}.jpg"), 3))
        for row in shown
    ]
    return Strips(f"A pair of {heading}", "", ("Rainy", "Derained", "Clean"), strips)


def _conditions(result: Mapping) -> list[str]:
    """How the figures came about, a sentence each."""
    rows, settings = result["rows"], result["settings"]
    counts = " and ".join(f"{rows[0][name]['frames']} pairs of {heading}" for name, heading in SETS.items())
    clip = next((row[CLIP]["frames"] for row in rows if CLIP in row), 0)
    told = [
        f"PSNR in dB and SSIM on Y (in brackets: dB over the untouched input) of {counts} and {clip} frames "
        f"of CamVid's validation clip in rendered rain of {settings['rate_mm_h']:g} mm/h; mIoU and AP50 of "
        "the clip by each model's own parser.",
        f"Prior {settings['prior']} on the clip, closed_loop x{settings['iterations']} on single pictures, "
        "where a network takes one.",
        "Parameters and GMAC are the derainer's, of one pass.",
    ]
    ran_on = sorted({row["ran_on"] for row in rows if "ran_on" in row})
    if ran_on:
        width, height = settings["size"]
        told.append(
            f"Times are p50 for a rainy {width}x{height} frame on {' / '.join(ran_on)}, "
            f"{_machine(result['machine'])}: the derainer alone, and the frame with gauge and parser."
        )
    if settings["limit"]:
        told.append(f"A quick look: only the first {settings['limit']} pictures of each set.")
    return told


def _machine(described: Mapping) -> str:
    gpu = f", {described['gpu']}" if described["gpu"] else ""
    return f"{described['processor']}, {described['cores']} cores{gpu}"


def _notes(result: Mapping) -> list[str]:
    """Everything to be known beside the table, a line each."""
    protocol = [PROTOCOL] if _of_papers(result["rows"]) else []
    beside = [f"{paper} prints besides: {text}" for paper, text in _beside(result["rows"]).items()]
    return [*_conditions(result), *protocol, *beside, *_missing(result["rows"])]


def _beside(rows: Sequence[Mapping]) -> dict[str, str]:
    return {row["printed_paper"]: row["printed_beside"] for row in rows if row.get("printed_beside")}


def _missing(rows: Sequence[Mapping]) -> list[str]:
    return [sentence for row in rows for sentence in row.get("missing", ())]


def _verdict(rows: Sequence[Mapping]) -> str:
    count = sum("folder" in row for row in rows)
    return f"{count} model{'s' * (count != 1)} on the same pictures, held against the untouched input."


def _tiles(rows: Sequence[Mapping]) -> list[Tile]:
    """The best of each set of pairs, over the untouched input."""
    tiles = []
    for name, heading in SETS.items():
        gains = {
            row["model"]: row[name]["gain_y_db"] for row in rows if (row.get(name) or {}).get("gain_y_db")
        }
        if gains:
            best = max(gains, key=gains.get)
            tiles.append(Tile(f"{heading}, most gained", f"{gains[best]:+.2f} dB", best))
    return tiles


def _pair(found: Mapping) -> str:
    """PSNR and SSIM in one cell, and the dB over the untouched input where they are known."""
    psnr = "inf" if found["psnr_y_db"] is None else f"{found['psnr_y_db']:.2f}"
    gain = found.get("gain_y_db")
    return f"{psnr} / {found['ssim_y']:.4f}" + (f" ({gain:+.2f})" if gain is not None else "")
