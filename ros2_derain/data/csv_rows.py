"""CSV files whose first line names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from .images import DataError


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """``FILE, line N`` and the row of each line.

    Args:
        columns: that the first line must name; it may name others.

    Raises:
        DataError: the file or a column is missing, or a line is too short.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise DataError(
                f"{path} lacks the column {', '.join(lacking)}: its first line must name {','.join(columns)}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if any(value is None for value in row.values()):
                raise DataError(f"{where}: fewer values than columns")
            yield where, row
