"""Which images of a dataset are used: by their names, by columns of an index, every k-th of a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from .csv_rows import csv_rows
from .images import DataError


@dataclass(frozen=True)
class ImageIndex:
    """A CSV file with a line for each image.

    Attributes:
        path: of the file.
        rows: its columns by name, by the name of the image.
    """

    path: Path
    rows: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> ImageIndex:
        """A file whose column ``image`` holds the names of the images.

        Raises:
            DataError: it is missing, lacks that column, names an image twice, or has a short line.
        """
        rows: dict[str, Mapping[str, str]] = {}
        for where, row in csv_rows(path, ("image",)):
            if row["image"] in rows:
                raise DataError(f"{where}: image {row['image']} is listed before: keep one of the lines")
            rows[row["image"]] = row
        return cls(path, rows)

    def column(self, name: str, images: Sequence[Path]) -> list[str]:
        """The value that a column has for each image.

        Raises:
            DataError: there is no such column, or an image is not listed.
        """
        for image in images:
            if image.name not in self.rows:
                raise DataError(f"{self.path} does not list {image.name}: add a line for it")
        known = list(next(iter(self.rows.values()), ()))
        if name not in known:
            raise DataError(f"{self.path} has no column {name!r}: its columns are {', '.join(known)}")
        return [self.rows[image.name][name] for image in images]


@dataclass(frozen=True)
class Selection:
    """The images of a dataset that are used; one that is not restricted uses all.

    Attributes:
        names: globs with commas of which the names of the files match one, such as ``0001TP*``; empty: any
            name.
        leave_out: globs whose files are not used; empty: none.
        include: by column of the index, the values whose images are used.
    """

    names: str = ""
    leave_out: str = ""
    include: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def indices(self, images: Sequence[Path], index: ImageIndex | None = None) -> list[int]:
        """Indices of the images that are used.

        Args:
            images: of the dataset, in order.
            index: has the columns of ``include``.

        Raises:
            DataError: a glob or a value fits no image, or nothing is left; the message shows what there is.
        """
        kept = _matching(images, self.names) if self.names else list(range(len(images)))
        if self.leave_out:
            left_out = set(_matching(images, self.leave_out))
            kept = [number for number in kept if number not in left_out]
        for column, values in self.include.items():
            if index is None:
                raise DataError(f"images are selected by column {column!r}: name the index (a CSV file)")
            of_image = index.column(column, images)
            if unknown := [value for value in values if value not in of_image]:
                raise DataError(
                    f"{index.path} has no image whose {column} is {', '.join(unknown)}: it has "
                    f"{', '.join(dict.fromkeys(of_image))}"
                )
            kept = [number for number in kept if of_image[number] in values]
        if not kept:
            raise DataError(f"none of {len(images)} images is selected: relax what selects them")
        return kept


def every_kth(step: int, offset: int, groups: Sequence[str]) -> list[bool]:
    """Whether each image is the ``offset``-th, ``offset + step``-th ... of its group, counted from 0."""
    seen: Counter[str] = Counter()
    chosen = []
    for group in groups:
        chosen.append(seen[group] % step == offset)
        seen[group] += 1
    return chosen


def _matching(images: Sequence[Path], globs: str) -> list[int]:
    """Indices of the images whose names match one of the globs; each must match one."""
    found: set[int] = set()
    for glob in globs.split(","):
        matching = {number for number, path in enumerate(images) if fnmatchcase(path.name, glob)}
        if not matching:
            raise DataError(f"no file is named like {glob!r} among {len(images)}, such as {images[0].name}")
        found |= matching
    return sorted(found)
