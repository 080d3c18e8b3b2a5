"""Rows of figures: averaged, and set as a table for a terminal or a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A figure of a row: its key, heading, how it is written, and what stands for None."""

    key: str
    heading: str
    write: Callable[[float], str]
    none: str = NONE


def percentage(digits: int) -> Callable[[float], str]:
    """Writes a share of 0..1 in per cent."""
    return lambda value: f"{100 * value:.{digits}f}"


def fixed(digits: int) -> Callable[[float], str]:
    """Writes a number with so many decimals."""
    return lambda value: f"{value:.{digits}f}"


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


COLUMNS = (
    Column("network", "network", _text),
    Column("variant", "variant", _text),
    Column("parameters_m", "M parameters", fixed(3)),
    Column("gmac", "GMAC", fixed(2)),
    Column("rate_mm_h", "mm/h", _text),
    Column("input", "parser fed", _text),
    Column("picture", "picture", _text),
    Column("class", "class", _text),
    Column("frames", "frames", _text),
    Column("read_mm_h", "read mm/h", fixed(1)),
    Column("read_after_mm_h", "after mm/h", fixed(1)),
    Column("gate_open", "open %", percentage(1)),
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
    Column("niqe", "NIQE", fixed(2)),
    Column("niqe_after", "after NIQE", fixed(2)),
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
    Column("recovery_miou", "mIoU back %", percentage(1)),
    Column("recovery_ap50", "AP50 back %", percentage(1)),
)
"""Every figure that a table shows, in this order; a table has those that its rows have."""


def cells(rows: Sequence[Mapping], columns: Sequence[Column] = COLUMNS) -> tuple[list[str], list[list[str]]]:
    """Headings, and each row's cells as text. A missing figure is a dash, a PSNR of None infinite."""
    columns = [column for column in columns if any(column.key in row for row in rows)]
    return [column.heading for column in columns], [
        [_cell(row, column) for column in columns] for row in rows
    ]


def _cell(row: Mapping, column: Column) -> str:
    if column.key not in row:
        return NONE
    return column.none if row[column.key] is None else column.write(row[column.key])


def table(rows: Sequence[Mapping], columns: Sequence[Column] = COLUMNS) -> str:
    """Rows as aligned text; words flush left, numbers flush right."""
    headings, written = cells(rows, columns)
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
    """Rows as a Markdown table; the first column flush left, the others flush right."""
    headings, written = cells(rows, columns)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *written))


def number(value: float | None, digits: int = 1) -> str:
    """A figure in a sentence or a tile; a dash for None."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 0..1 in per cent, without the sign; a dash for None."""
    return number(None if share is None else 100 * share, digits)


def rounded(share: float | None) -> str:
    """A share of 0..1 as such as ``27%``; a dash for None."""
    return NONE if share is None else f"{share:.0%}"


def finite(value: float | None) -> float | None:
    """The value, None for NaN and infinity: JSON has no word for them."""
    return float(value) if value is not None and math.isfinite(value) else None


def averaged(found: Sequence[Mapping]) -> dict:
    """Mean of each figure, and of each within a mapping; None where one of them is None.

    Args:
        found: mappings of equal keys to numbers, None, or such mappings.
    """
    result = {}
    for key, first in found[0].items():
        values = [each[key] for each in found]
        if isinstance(first, Mapping):
            result[key] = averaged(values)
        else:
            result[key] = None if None in values else float(np.mean(values))
    return result


def deviations(found: Sequence[Mapping]) -> dict:
    """Standard deviation (of a sample: n - 1) of each plain figure; those without one are left out."""
    return {
        key: float(np.std([each[key] for each in found], ddof=1))
        for key, first in found[0].items()
        if not isinstance(first, Mapping) and len(found) > 1 and None not in [each[key] for each in found]
    }


def spearman(first: Iterable[float], second: Iterable[float]) -> float | None:
    """Spearman's rank correlation, -1..1; None where one side is constant.

    Pearson's correlation of the ranks; equal values share the mean of their ranks.
    """
    ranks = [_ranks(np.asarray(list(values), float)) for values in (first, second)]
    if any(len(side) < 2 or np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return (last - (times - 1) / 2)[place.ravel()]
