"""The planner's messages of one frame, for planner_node and the offline replay: points, boxes in metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from ros2_derain import messages
from ros2_derain.engine import Detection, Scene
from ros2_derain.messages import images
from ros2_derain.messages.point_clouds import POINT, packed, to_cloud, to_xyz
from ros2_derain.nodes.frames import Frames, Placed
from ros2_derain.nodes.parameters import PlannerParameters
from ros2_derain.planner import (
    UNSEEN,
    BoxSigmas,
    CalibrationError,
    Camera,
    GroundGrid,
    Lifted,
    Lifter,
    Painted,
    Pose,
    View,
    on_ground,
    paint,
)

UNKNOWN_TURN = (0.1**2, 0.1**2, np.pi**2 / 3)
"""Variances of a box's roll, pitch and yaw [rad^2]: it stands upright, and its heading is not known."""


@dataclass(frozen=True)
class Seen:
    """What is known of one image.

    Attributes:
        header: of the image.
        view: labels, confidence, trust and colours; None: there is no label map.
        detections: None: unknown, which is not the same as none.
        class_names: of the labels by id; () where they are not known.
        size: height and width of the image; None: unknown.
    """

    header: Header
    view: View | None
    detections: tuple[Detection, ...] | None
    class_names: Sequence[str]
    size: tuple[int, int] | None

    @classmethod
    def of_scene(cls, scene: Scene, class_names: Sequence[str]) -> Seen | None:
        """What a scene says; None where it was not parsed. Its trust knows what water hides."""
        seen = scene.perception
        if seen is None:
            return None
        view = View(seen.labels, seen.confidence, scene.trust, scene.image)
        header = messages.to_header(scene.stamp_ns, scene.frame_id)
        return cls(header, view, seen.detections, class_names, seen.labels.shape)


def less_hidden(trust: np.ndarray, obstruction: np.ndarray | None) -> np.ndarray:
    """Trust, lowered where water on the glass hides the scene; both uint8, of 0..255."""
    if obstruction is None:
        return trust
    height, width = trust.shape
    hidden = cv2.resize(obstruction, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.minimum(trust, 255 - hidden)


class Planner:
    """Makes the planner's frames of one camera; keeps what stays the same from one to the next."""

    def __init__(self) -> None:
        self._camera: tuple[tuple, Camera] | None = None
        self._grid: GroundGrid | None = None

    def frame(
        self,
        seen: Seen,
        info: CameraInfo | None,
        frames: Frames,
        parameters: PlannerParameters,
        cloud: PointCloud2 | None = None,
        expects_cloud: bool = False,
    ) -> PlannerFrame:
        """The frame of an image.

        Args:
            seen: what is known of it.
            info: its calibration; None: there is none.
            frames: where the sensors are.
            parameters: of planner_node.
            cloud: of the lidar at that time; None: there is none.
            expects_cloud: the points are the lidar's, and without a cloud there are none.

        Raises:
            CalibrationError: there is no calibration, or it does not fit the image.
            TransformError: the transform of a sensor is too old.
            CloudError: the cloud cannot be read.
        """
        if info is None:
            raise CalibrationError("no camera_info: publish the calibration of the images")
        calibration = messages.to_calibration(info, parameters.rectified)
        height, width = seen.size or calibration.image_size[::-1]
        key = (calibration, width, height)
        if self._camera is None or self._camera[0] != key:
            self._camera = key, calibration.camera(width, height)
            self._grid = None
        camera = self._camera[1]
        if self._grid is None or self._grid.stride != parameters.stride:
            self._grid = GroundGrid(camera, parameters.stride)
        stamp = messages.stamp_ns(seen.header)
        placed = frames.camera(seen.header.frame_id, stamp, parameters)
        scale = calibration.scale_to(width, height)
        lidar = None
        if cloud is not None:
            of_lidar = frames.lidar(cloud.header.frame_id, stamp, parameters)
            lidar = of_lidar.to_base.apply(to_xyz(cloud)), of_lidar.source
        return PlannerFrame(seen, self._grid, placed, parameters, scale[0], lidar, expects_cloud)


@dataclass(frozen=True)
class PlannerFrame:
    """One image in metres. What several messages need is computed once, and only if one is asked for.

    Attributes:
        seen: what is known of the image.
        grid: its ground grid.
        placed: where the camera is.
        parameters: of planner_node.
        scale: of the calibration to the image; 1: it is for this size.
        lidar: N x 3 points in base, and where the lidar's place comes from; None: there is no cloud.
        expects_cloud: the points are the lidar's.
    """

    seen: Seen
    grid: GroundGrid
    placed: Placed
    parameters: PlannerParameters
    scale: float
    lidar: tuple[np.ndarray, str] | None
    expects_cloud: bool

    @property
    def camera(self) -> Camera:
        """Of the images."""
        return self.grid.camera

    @property
    def header(self) -> Header:
        """Of the messages: the image's, with base_frame where that is asked for."""
        if self.parameters.output_frame == "camera":
            return self.seen.header
        return Header(stamp=self.seen.header.stamp, frame_id=self.parameters.base_frame)

    @property
    def base_to_output(self) -> Pose:
        """From base to the frame of the messages."""
        return self.placed.to_base.inverse() if self.parameters.output_frame == "camera" else Pose.identity()

    def _ids(self, names: str) -> tuple[int, ...]:
        """The labels that a list of class names means."""
        meant = {_plain(name) for name in names.split(",")}
        return tuple(i for i, name in enumerate(self.seen.class_names) if _plain(name) in meant)

    @cached_property
    def _ground_ids(self) -> tuple[int, ...]:
        return self._ids(self.parameters.ground_classes)

    # Points

    def points(self) -> PointCloud2 | None:
        """``segmentation/points``: the painted cloud, or the ground; None where there is neither."""
        if self.expects_cloud:
            return None if self.lidar is None else self.painted_points()
        return self.ground_points()

    def ground_points(self) -> PointCloud2 | None:
        """The ground, organized, pixel by pixel of the strided label map; NaN where it is not ground."""
        view, stride = self.seen.view, self.parameters.stride
        if view is None or not self.seen.class_names:
            return None
        labels = view.labels[::stride, ::stride]
        grid = self.grid.points(self.placed.to_base, self.parameters.ground_z, self.parameters.max_range_m)
        if self.parameters.output_frame == "base":
            grid = self.placed.to_base.apply(grid)
        known = on_ground(labels, self._ground_ids, self._ids(self.parameters.foot_classes))
        points = np.empty(labels.shape, POINT)
        for axis, name in enumerate("xyz"):
            points[name] = np.where(known, grid[..., axis], np.nan)
        points["label"] = labels
        points["confidence"] = view.confidence[::stride, ::stride]
        points["trust"] = view.trust[::stride, ::stride]
        points["rgb"] = packed(view.image[::stride, ::stride])
        return to_cloud(points, self.header)

    def painted_points(self) -> PointCloud2 | None:
        """The lidar's points with what the camera saw; see :func:`~ros2_derain.planner.paint`."""
        if self.lidar is None or self._painted is None:
            return None
        painted = self._painted
        points = np.empty(len(self.lidar[0]), POINT)
        placed = self.base_to_output.apply(self.lidar[0])
        for axis, name in enumerate("xyz"):
            points[name] = placed[:, axis]
        points["label"], points["confidence"] = painted.labels, painted.confidence
        points["trust"], points["rgb"] = painted.trust, packed(painted.colours)
        return to_cloud(points, self.header)

    @cached_property
    def _painted(self) -> Painted | None:
        if self.lidar is None or self.seen.view is None:
            return None
        to_base = self.placed.to_base
        height = float(to_base.translation[2]) - self.parameters.ground_z
        return paint(to_base.inverse().apply(self.lidar[0]), self.camera, self.seen.view, height)

    def strided_labels(self) -> Image | None:
        """The label map of the ground's grid: of as many pixels as the cloud has points."""
        return self._strided("labels")

    def strided_confidence(self) -> Image | None:
        """The confidence of the same pixels."""
        return self._strided("confidence")

    def _strided(self, name: str) -> Image | None:
        view, stride = self.seen.view, self.parameters.stride
        if view is None or self.expects_cloud:
            return None
        return images.from_mono(
            np.ascontiguousarray(getattr(view, name)[::stride, ::stride]), self.seen.header
        )

    def labels_of_places(self, places: np.ndarray) -> np.ndarray:
        """The labels of places on the ground, for an image from above.

        Args:
            places: ... x 2, forward and left in base [m].

        Returns:
            ... uint8; 255 where the camera sees no ground or foot of an object within max_range_m.
        """
        view, p, to_base = self.seen.view, self.parameters, self.placed.to_base
        found = np.full(places.shape[:-1], UNSEEN, np.uint8)
        if view is not None:
            near = np.hypot(*(places - to_base.translation[:2]).reshape(-1, 2).T) <= p.max_range_m
            points = np.full((near.sum(), 3), p.ground_z)
            points[:, :2] = places.reshape(-1, 2)[near]
            seen, pixels = self.camera.seen(to_base.inverse().apply(points))
            columns, rows = np.rint(pixels).astype(int).T
            known = on_ground(view.labels, self._ground_ids, self._ids(p.foot_classes))
            labels = np.where(known, view.labels, UNSEEN)[rows, columns]
            found.reshape(-1)[np.flatnonzero(near)[seen]] = labels
        return found

    # Boxes

    @cached_property
    def lifted(self) -> tuple[list[Lifted], dict[int, str]]:
        """The detections in metres, and why others have no place, by index."""
        return self.lift(self._painted)

    def lift(self, painted: Painted | None) -> tuple[list[Lifted], dict[int, str]]:
        """The detections in metres, and why others have no place; by lidar where it is given."""
        p, found = self.parameters, self.seen.detections or ()
        sigmas = BoxSigmas(pitch=np.deg2rad(p.pitch_sigma_deg))
        lifter = Lifter(self.camera, self.placed.to_base, p.ground_z, p.max_range_m, sigmas)
        view = self.seen.view if self.seen.class_names else None
        cloud = (self.lidar[0], painted) if self.lidar is not None and painted is not None else None
        boxes = np.array([(d.x0, d.y0, d.x1, d.y1) for d in found])
        return lifter.lift(boxes, [d.class_name for d in found], view, self._ground_ids, cloud)

    @property
    def dropped(self) -> Sequence[str]:
        """Why detections have no place, a cause for each of them."""
        return tuple(self.lifted[1].values()) if self.seen.detections else ()

    def detections_3d(self) -> Detection3DArray | None:
        """``detections_3d``; None where the detections are not known."""
        if self.seen.detections is None:
            return None
        out, header = self.base_to_output, self.header
        boxes = [self._detection_3d(lifted, out, header) for lifted in self.lifted[0]]
        return Detection3DArray(header=header, detections=boxes)

    def _detection_3d(self, lifted: Lifted, out: Pose, header: Header) -> Detection3D:
        """The box stands behind its foot, along base's axes."""
        found = (self.seen.detections or ())[lifted.index]
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = found.class_name
        result.hypothesis.score = float(found.score)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = out.rotation @ lifted.covariance @ out.rotation.T
        covariance[3:, 3:] = out.rotation @ np.diag(UNKNOWN_TURN) @ out.rotation.T
        result.pose.covariance = covariance.ravel()
        messages.set_pose(result.pose.pose, out, lifted.foot)
        message = Detection3D(header=header, results=[result], id=found.id)
        messages.set_pose(message.bbox.center, out, lifted.middle)
        size = message.bbox.size
        size.x, size.y, size.z = lifted.size.length, lifted.size.width, lifted.size.height
        return message


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
