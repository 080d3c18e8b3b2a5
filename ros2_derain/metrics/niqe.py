"""NIQE: how far an image's statistics lie from those of clean photographs. No reference needed.

Mittal, Soundararajan and Bovik, "Making a 'completely blind' image quality analyzer", IEEE
Signal Processing Letters 2013. The features are the paper's; the model of clean photographs
is the project's own, ``niqe_pristine.json``, which says what it was fitted to and by which
command (:mod:`ros2_derain.metrics.niqe_fit`). With another model than the authors', scores
rank images but **do not compare with published NIQE values**.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np

from .image import MetricError

BLOCK = 96  # pixels at the first scale, half of it at the second
SHARPNESS = 0.75  # of the sharpest block: what a block needs to shape the model
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows down, columns right
FEATURES = 36


@dataclass(frozen=True)
class PristineModel:
    """A normal distribution of the features of clean photographs.

    Attributes:
        mean: 36 float64.
        covariance: 36 x 36 float64.
        origin: the photographs, their number and licence, and how to fit the model again.
    """

    mean: np.ndarray
    covariance: np.ndarray
    origin: str

    def to_json(self) -> str:
        """The model as text, numbers to seven digits."""
        mean, *covariance = (
            "[" + ", ".join(f"{value:.7g}" for value in row) + "]" for row in (self.mean, *self.covariance)
        )
        rows = ",\n  ".join(covariance)
        return f'{{"origin": {json.dumps(self.origin)},\n"mean": {mean},\n"covariance": [\n  {rows}]}}\n'

    @staticmethod
    def from_json(text: str) -> PristineModel:
        """The model of :meth:`to_json`.

        Raises:
            MetricError: the text is no such model.
        """
        try:
            fields = json.loads(text)
            mean, covariance = np.array(fields["mean"], float), np.array(fields["covariance"], float)
            origin = str(fields["origin"])
        except (ValueError, KeyError, TypeError) as error:
            raise MetricError(f"this is no NIQE model ({error!r}): make one with niqe_fit") from error
        if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
            raise MetricError(
                f"NIQE model has {mean.shape} means and {covariance.shape} covariances: "
                f"expected {FEATURES} and {FEATURES} x {FEATURES}"
            )
        return PristineModel(mean, covariance, origin)


def niqe(image: np.ndarray, model: PristineModel | None = None) -> float:
    """Distance from clean photographs, 0 and up, smaller is better (equation 10).

    Args:
        image: H x W or H x W x 3 (RGB) uint8, of two 96 x 96 blocks at least.
        model: what clean means; by default the shipped model.

    Raises:
        MetricError: type or shape is wrong, the image is too small, or fewer than two of
            its blocks hold any texture.
    """
    features, _ = block_features(image)
    if len(features) < 2:
        raise MetricError("fewer than two blocks of the image have texture: NIQE is undefined")
    model = model or shipped_model()
    difference = features.mean(0) - model.mean
    covariance = (model.covariance + np.cov(features, rowvar=False)) / 2
    return float(math.sqrt(max(0.0, difference @ np.linalg.pinv(covariance) @ difference)))


def fit_pristine(images: Iterable[np.ndarray], origin: str) -> PristineModel:
    """Fit the model of clean photographs to the sharp blocks of many of them.

    Args:
        images: as :func:`niqe` takes them; 100 photographs of varied content or more.
        origin: what they are, to be kept in the model.

    Raises:
        MetricError: an image is unfit, or there are fewer sharp blocks than features.
    """
    sharp = [np.zeros((0, FEATURES))]
    for image in images:
        features, sharpness = block_features(image)
        if len(features):
            sharp.append(features[sharpness > SHARPNESS * sharpness.max()])
    features = np.vstack(sharp)
    if len(features) <= FEATURES:
        raise MetricError(
            f"{len(features)} sharp blocks do not make a model of {FEATURES} features: give more images"
        )
    return PristineModel(features.mean(0), np.cov(features, rowvar=False), origin)


@lru_cache(maxsize=1)
def shipped_model() -> PristineModel:
    """The model that comes with the package."""
    return PristineModel.from_json(files("ros2_derain.metrics").joinpath("niqe_pristine.json").read_text())


def block_features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """N x 36 features and N sharpnesses of the textured 96 x 96 blocks of an image.

    Eighteen features at full and at half size: shape and scale of the normalised luminance,
    then shape, mean, left and right scale of its products with four neighbours (table 1).
    Blocks without texture at either size are left out. What is left over at the right and the
    lower edge does not count.

    Raises:
        MetricError: type or shape is wrong, or the image is smaller than two blocks.
    """
    plane = _grey(image)
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    if rows * columns < 2:
        raise MetricError(
            f"image is {plane.shape[1]}x{plane.shape[0]}, NIQE needs two blocks of {BLOCK}x{BLOCK} pixels"
        )
    plane = plane[: rows * BLOCK, : columns * BLOCK]
    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    features, sharpness = [], []
    for scaled, size in ((plane, BLOCK), (half, BLOCK // 2)):
        normalised, deviation = _normalise(scaled)
        features.append(_scale_features(_blocks(normalised, size)))
        sharpness.append(_blocks(deviation, size).mean((1, 2)))
    table = np.hstack(features)
    known = np.isfinite(table).all(1)
    return table[known], sharpness[0][known]


def fit_aggd(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Asymmetric generalised Gaussian distributions by moments: shape, left and right scale.

    Lasmar, Stitou and Berthoumieu, "Multiscale skewed heavy tailed model for texture
    analysis", ICIP 2009. Shape 2 is a Gaussian of scale sqrt(2) sigma, shape 1 a Laplacian of
    its own scale; shapes are found from 0.2 to 10 in steps of 0.001.

    Args:
        samples: N x M, a distribution in each row; a row without samples of either sign gives NaN.

    Returns:
        three arrays of N: alpha, beta_l, beta_r.
    """
    squares = samples * samples
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt((squares * (samples < 0)).sum(1) / (samples < 0).sum(1))
        right = np.sqrt((squares * (samples > 0)).sum(1) / (samples > 0).sum(1))
        skew = left / right
        ratio = np.abs(samples).mean(1) ** 2 / squares.mean(1)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios, scales = _gamma_table()
    index = np.searchsorted(ratios, ratio).clip(1, len(ratios) - 1)
    index -= ratio - ratios[index - 1] < ratios[index] - ratio
    known = np.isfinite(ratio)
    alpha, scale = (np.where(known, table[index], np.nan) for table in (shapes, scales))
    return alpha, left * scale, right * scale


def _scale_features(blocks: np.ndarray) -> np.ndarray:
    """N x 18 features of N blocks of normalised luminance at one scale."""
    alpha, left, right = fit_aggd(blocks.reshape(len(blocks), -1))
    columns = [alpha, (left + right) / 2]
    for neighbour in NEIGHBOURS:
        products = blocks * np.roll(blocks, neighbour, (1, 2))
        alpha, left, right = fit_aggd(products.reshape(len(blocks), -1))
        columns += [alpha, (right - left) * _gamma_ratio(alpha), left, right]
    return np.column_stack(columns)


def _normalise(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance less its local mean over one plus its local deviation; and that deviation."""
    mean = _local_mean(plane)
    deviation = np.sqrt(np.abs(_local_mean(plane * plane) - mean * mean))
    return (plane - mean) / (deviation + 1), deviation


def _local_mean(plane: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(plane, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)


def _blocks(plane: np.ndarray, size: int) -> np.ndarray:
    rows, columns = plane.shape[0] // size, plane.shape[1] // size
    return plane.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


def _grey(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise MetricError(f"image is {image.shape} {image.dtype}, expected H x W or H x W x 3 uint8")
    grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float64)


@lru_cache(maxsize=1)
def _gamma_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes, their ratio of moments (rising), and the scale of a unit deviation."""
    shapes = np.arange(200, 10001) / 1000
    first, second, third = (np.array([math.lgamma(n / shape) for shape in shapes]) for n in (1, 2, 3))
    return shapes, np.exp(2 * second - first - third), np.exp((first - third) / 2)


def _gamma_ratio(alpha: np.ndarray) -> np.ndarray:
    """Gamma(2 / alpha) / Gamma(1 / alpha): the mean of a distribution of unit scale."""
    return np.array([math.exp(math.lgamma(2 / a) - math.lgamma(1 / a)) if a == a else a for a in alpha])
