"""``sensor_msgs/PointCloud2`` from structured arrays, and points from it.

By ``sensor_msgs_py`` where it is installed; it is not on PyPI. It takes the first axis of an array for the
width, and reads neither padded rows nor, without changing the message, big-endian points: clouds are given to
it flat, and such ones are read here.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from ros2_derain.planner import PlannerError

try:
    from sensor_msgs_py import point_cloud2
except ImportError:
    point_cloud2 = None

POINT = np.dtype(
    {
        "names": ["x", "y", "z", "label", "confidence", "trust", "rgb"],
        "formats": ["<f4", "<f4", "<f4", "u1", "u1", "u1", "<f4"],
        "offsets": [0, 4, 8, 12, 13, 14, 16],
        "itemsize": 20,
    }
)
"""The fields of ``segmentation/points``; rgb is 0x00RRGGBB in the bits of a float, as PCL has it."""

FIELD_TYPES: dict[np.dtype[Any], int] = {
    np.dtype("i1"): PointField.INT8,
    np.dtype("u1"): PointField.UINT8,
    np.dtype("i2"): PointField.INT16,
    np.dtype("u2"): PointField.UINT16,
    np.dtype("i4"): PointField.INT32,
    np.dtype("u4"): PointField.UINT32,
    np.dtype("f4"): PointField.FLOAT32,
    np.dtype("f8"): PointField.FLOAT64,
}
NUMPY_TYPES = {number: kind for kind, number in FIELD_TYPES.items()}


class CloudError(PlannerError):
    """A point cloud contradicts itself, or has no usable x, y and z."""


def to_cloud(points: np.ndarray, header: Header) -> PointCloud2:
    """A message of H x W or N points, a structured array; those that are not finite make it not dense."""
    placed = ((name, *(points.dtype.fields or {})[name][:2]) for name in points.dtype.names or ())
    fields = [
        PointField(name=name, offset=offset, datatype=FIELD_TYPES[kind], count=1)
        for name, kind, offset in placed
    ]
    height, width = points.shape if points.ndim == 2 else (1, len(points))
    step, flat = points.dtype.itemsize, np.ascontiguousarray(points).reshape(-1)
    if point_cloud2 is not None and len(flat):
        cloud = point_cloud2.create_cloud(header, fields, flat, step)
    else:
        cloud = PointCloud2(header=header, fields=fields, point_step=step)
        data = array.array("B")
        data.frombytes(flat.view(np.uint8).data)
        cloud.data = data
    cloud.height, cloud.width, cloud.row_step = height, width, step * width
    cloud.is_dense = bool(np.isfinite(points["x"]).all())
    return cloud


def to_points(cloud: PointCloud2) -> np.ndarray:
    """The points of a message as a structured array, H x W where it is organized, else N.

    Raises:
        CloudError: fields, sizes and data contradict each other.
    """
    names = [field.name for field in cloud.fields]
    sizes = [NUMPY_TYPES[f.datatype].itemsize for f in cloud.fields if f.datatype in NUMPY_TYPES]
    ends = [f.offset + size for f, size in zip(cloud.fields, sizes, strict=False)]
    total = cloud.width * cloud.height
    if len(sizes) < len(names) or len({*names}) < len(names) or max(ends, default=0) > cloud.point_step:
        raise CloudError(
            f"a cloud has the fields {', '.join(names)}, which do not fit its points: correct it"
        )
    if len(cloud.data) < cloud.point_step * total or cloud.row_step < cloud.point_step * cloud.width:
        raise CloudError(
            f"a cloud of {cloud.width} x {cloud.height} points has {len(cloud.data)} bytes: correct its sizes"
        )
    if total == 0:
        return np.empty(0, [(name, "<f4") for name in names])
    compact = cloud.row_step == cloud.point_step * cloud.width and not cloud.is_bigendian
    if point_cloud2 is not None and compact:
        flat = point_cloud2.read_points(cloud)
        return flat.reshape(cloud.height, cloud.width) if cloud.height > 1 else flat
    order: Any = ">" if cloud.is_bigendian else "<"
    layout: Any = {
        "names": names,
        "formats": [NUMPY_TYPES[field.datatype].newbyteorder(order) for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_step,
    }
    strides = (cloud.row_step, cloud.point_step)
    rows: np.ndarray = np.ndarray(
        (cloud.height, cloud.width), np.dtype(layout), buffer=cloud.data, strides=strides
    )
    return rows if cloud.height > 1 else rows[0]


def to_xyz(cloud: PointCloud2) -> np.ndarray:
    """N x 3 float32 coordinates of a message's points, NaN and all.

    Raises:
        CloudError: see :func:`to_points`; or x, y or z is missing.
    """
    points = to_points(cloud)
    if not {"x", "y", "z"} <= {*(points.dtype.names or ())}:
        raise CloudError(
            f"a cloud has the fields {', '.join(points.dtype.names or ()) or 'none'}: x, y and z are needed"
        )
    return np.column_stack([points[axis].reshape(-1).astype(np.float32) for axis in "xyz"])


def packed(colours: np.ndarray) -> np.ndarray:
    """... float32 of ... x 3 uint8 RGB, as the field rgb holds it."""
    wide = colours.astype(np.uint32)
    found: np.ndarray = (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).view(np.float32)
    return found


def unpacked(rgb: np.ndarray) -> np.ndarray:
    """... x 3 uint8 RGB of the field rgb."""
    bits = np.ascontiguousarray(rgb).view(np.uint32)
    return np.stack([(bits >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)
