"""Fit NIQE's model of clean photographs: ``python -m ros2_derain.metrics.niqe_fit IMAGES_DIR``.

The shipped model was fitted by::

    python -m ros2_derain.metrics.niqe_fit DATA/bsds/images \\
        --origin "BSDS500 less the backgrounds of Rain100L and Rain100H (research use)"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from .image import MetricError
from .niqe import fit_pristine

SHIPPED = Path(__file__).parent / "niqe_pristine.json"
COMMAND = "python -m ros2_derain.metrics.niqe_fit"
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="niqe_fit", description="Fit NIQE's model to clean photographs.")
    parser.add_argument("images", type=Path, help="folder of clean, sharp, varied photographs")
    parser.add_argument("--origin", help="what they are, kept in the model (default: the folder's name)")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="default: the model of the package")
    args = parser.parse_args(arguments)
    try:
        paths = sorted(p for p in args.images.iterdir() if p.suffix.lower() in SUFFIXES)
        origin = f"{len(paths)} photographs, {args.origin or args.images.resolve().name}; by {COMMAND}"
        model = fit_pristine(_read(paths), origin)
        unfinished = args.out.with_name(args.out.name + ".tmp")
        unfinished.write_text(model.to_json())
        unfinished.replace(args.out)
    except (MetricError, OSError) as error:
        print(f"niqe_fit: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {model.origin}")
    return 0


def _read(paths: list[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise MetricError(f"{path} is no image that can be read")
        yield image[:, :, ::-1]


if __name__ == "__main__":
    sys.exit(main())
