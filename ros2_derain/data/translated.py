"""Labels of any data set in the classes of the default model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .camvid import CAMVID_CLASSES
from .labels import UNLABELLED, LabelledDataset
from .sample import Sample

MEANING = {
    "sidewalk": "pavement",
    "wall": "building",
    "traffic light": "sign",
    "traffic sign": "sign",
    "vegetation": "tree",
    "terrain": "tree",
    "person": "pedestrian",
    "rider": "bicyclist",
    "bicycle": "bicyclist",
    "motorcycle": "bicyclist",
    "motorbike": "bicyclist",
    "truck": "car",
    "bus": "car",
}
"""Class names of other data sets -> CamVid's, whose eleven classes are unions of 32 (Brostow et al.,
Pattern Recognition Letters 2009; Badrinarayanan et al., TPAMI 2017). A class that is not CamVid's and
has no entry is unlabelled."""


class Translated:
    """A data set with its labels in :data:`CAMVID_CLASSES`.

    Args:
        dataset: with labels in classes of its own, or without any.
    """

    classes = CAMVID_CLASSES

    def __init__(self, dataset: LabelledDataset):
        self._dataset = dataset
        self._table = np.full(256, UNLABELLED, np.uint8)
        for index, name in enumerate(dataset.classes):
            meaning = MEANING.get(name, name)
            if meaning in CAMVID_CLASSES:
                self._table[index] = CAMVID_CLASSES.index(meaning)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        return sample if sample.labels is None else replace(sample, labels=self._table[sample.labels])

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 class ids, 255 = unlabelled."""
        return self._table[self._dataset.labels(index)]
