"""Tables of figures as text, Markdown and report cells: columns with headings, units and digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: of the figure in a row.
        heading: with the unit.
        write: formats a value.
        none: text for None.
    """

    key: str
    heading: str
    write: Callable[[Any], str]
    none: str = NONE


def percentage(digits: int) -> Callable[[float], str]:
    """Formats a fraction 0..1 in percent."""
    return lambda value: f"{100 * value:.{digits}f}"


def fixed(digits: int) -> Callable[[float], str]:
    """Formats a number with this number of decimals."""
    return lambda value: f"{value:.{digits}f}"


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


COLUMNS = (
    Column("network", "network", _text),
    Column("variant", "variant", _text),
    Column("parameters_m", "M parameters", fixed(3)),
    Column("gmac", "GMAC", fixed(2)),
    Column("group", "group", _text),
    Column("glass", "glass", _text),
    Column("camera", "camera", _text),
    Column("rate_mm_h", "mm/h", _text),
    Column("input", "parser input", _text),
    Column("image", "image", _text),
    Column("class", "class", _text),
    Column("frames", "frames", _text),
    Column("read_mm_h", "estimated mm/h", fixed(1)),
    Column("read_median_mm_h", "median mm/h", fixed(1)),
    Column("read_after_mm_h", "after mm/h", fixed(1)),
    Column("gate_open", "open %", percentage(1)),
    Column("coverage_true", "true glass %", percentage(1)),
    Column("coverage", "glass %", percentage(1)),
    Column("coverage_error", "glass error %", percentage(1)),
    Column("coverage_factor", "factor", fixed(2)),
    Column("spearman", "Spearman", fixed(3)),
    Column("mask_iou", "mask IoU %", percentage(1)),
    Column("flagged", "flagged %", percentage(1)),
    Column("false_coverage", "false %", percentage(1)),
    Column("coverage_clean", "clean glass %", percentage(1)),
    Column("contrast_loss_true", "true contrast loss %", percentage(1)),
    Column("contrast_loss", "contrast loss %", percentage(1)),
    Column("contrast_loss_error", "loss error %", percentage(1)),
    Column("untouched", "untouched %", percentage(1)),
    Column("diagnosed_warn", "WARN %", percentage(1)),
    Column("diagnosed_error", "ERROR %", percentage(1)),
    Column("psnr_y_db", "PSNR-Y dB", fixed(2), "inf"),
    Column("ssim_y", "SSIM-Y", fixed(4)),
    Column("psnr_db", "PSNR dB", fixed(2), "inf"),
    Column("ssim", "SSIM", fixed(4)),
    Column("fsim", "FSIM", fixed(4)),
    Column("gain_y_db", "gain-Y dB", fixed(2)),
    Column("gain_db", "gain dB", fixed(2)),
    Column("psnr_hidden_db", "hidden dB", fixed(2), "inf"),
    Column("gain_hidden_db", "hidden gain", fixed(2)),
    Column("psnr_visible_db", "visible dB", fixed(2), "inf"),
    Column("gain_visible_db", "visible gain", fixed(2)),
    Column("niqe", "NIQE", fixed(2)),
    Column("niqe_after", "after NIQE", fixed(2)),
    Column("true_boxes", "true boxes", _text),
    Column("found", "found %", percentage(1)),
    Column("switches", "switches", _text),
    Column("switches_per_100", "per 100 found", fixed(2)),
    Column("fragmentations", "fragmentations", _text),
    Column("fragmentations_per_100", "per 100 found", fixed(2)),
    Column("mota", "MOTA %", percentage(1)),
    Column("tracks", "tracks", _text),
    Column("boxes_per_track", "boxes per track", fixed(1)),
    Column("miou", "mIoU %", percentage(2)),
    Column("pixel_accuracy", "PA %", percentage(2)),
    Column("mean_accuracy", "mPA %", percentage(2)),
    Column("flicker", "flicker %", percentage(2)),
    Column("warp_error", "warp 1e-3", lambda value: f"{1000 * value:.2f}"),
    Column("ap50", "AP50 %", percentage(1)),
    Column("ap", "AP50:95 %", percentage(1)),
    Column("precision", "P %", percentage(1)),
    Column("recall", "R %", percentage(1)),
    Column("overlap", "IoU %", percentage(1)),
    Column("recovery", "recovery %", percentage(1)),
    Column("recovery_miou", "mIoU recovery %", percentage(1)),
    Column("recovery_ap50", "AP50 recovery %", percentage(1)),
)
"""Every figure of a result, in the order of the table; a table shows those that its rows have."""


def cells(rows: Sequence[Mapping], columns: Sequence[Column] = COLUMNS) -> tuple[list[str], list[list[str]]]:
    """Headings, and each row's cells as text; a missing figure is a dash, a PSNR of None is infinite."""
    columns = [column for column in columns if any(column.key in row for row in rows)]
    return [column.heading for column in columns], [
        [_cell(row, column) for column in columns] for row in rows
    ]


def _cell(row: Mapping, column: Column) -> str:
    if column.key not in row:
        return NONE
    return column.none if row[column.key] is None else column.write(row[column.key])


def table(rows: Sequence[Mapping], columns: Sequence[Column] = COLUMNS) -> str:
    """Rows as aligned text; words left-aligned, numbers right-aligned."""
    return aligned(*cells(rows, columns))


def aligned(headings: Sequence[str], written: Sequence[Sequence[str]]) -> str:
    """Cells as aligned text, as :func:`table` writes them."""
    lines = []
    for line in (headings, *written):
        parts = []
        for index, cell in enumerate(line):
            below = [row[index] for row in written]
            width = max(map(len, (headings[index], *below)))
            words = any(part[:1].isalpha() for part in below)
            parts.append(cell.ljust(width) if words else cell.rjust(width))
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def markdown(rows: Sequence[Mapping], columns: Sequence[Column] = COLUMNS) -> str:
    """Rows as a Markdown table; the first column left-aligned, the others right-aligned."""
    headings, written = cells(rows, columns)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *written))


def number(value: float | None, digits: int = 1) -> str:
    """A figure in a sentence or a tile; a dash for None."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction 0..1 in percent, without the sign; a dash for None."""
    return number(None if fraction is None else 100 * fraction, digits)


def rounded(fraction: float | None) -> str:
    """A fraction 0..1 such as ``27%``; a dash for None."""
    return NONE if fraction is None else f"{fraction:.0%}"
