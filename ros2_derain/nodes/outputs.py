"""The outputs of the pipeline: every topic that it publishes about the camera's frames."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, String
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionInfo

from ros2_derain.nodes.topics import Topic, latched

CLEAN_IMAGE = Topic("derain/image", Image)
CLEAN_COMPRESSED = Topic("derain/image/compressed", CompressedImage)
CLEAN_CAMERA_INFO = Topic("derain/camera_info", CameraInfo)
TRUST = Topic("derain/trust", Image)
RAIN_RATE = Topic("derain/rain_rate", Float32)
MODE = Topic("derain/mode", String, latched)

LABEL_MAP = Topic("segmentation/label_map", Image)
CONFIDENCE = Topic("segmentation/confidence", Image)
LABEL_INFO = Topic("segmentation/label_info", LabelInfo, latched)
OVERLAY = Topic("segmentation/overlay", Image)
SEMANTIC_PRIOR = Topic("semantic_prior", Image)
DETECTIONS = Topic("detections", Detection2DArray)
VISION_INFO = Topic("vision_info", VisionInfo, latched)

OUTPUTS = (
    CLEAN_IMAGE,
    CLEAN_COMPRESSED,
    CLEAN_CAMERA_INFO,
    TRUST,
    RAIN_RATE,
    MODE,
    LABEL_MAP,
    CONFIDENCE,
    LABEL_INFO,
    OVERLAY,
    SEMANTIC_PRIOR,
    DETECTIONS,
    VISION_INFO,
)
"""What the pipeline says about the camera's frames, without diagnostics."""
