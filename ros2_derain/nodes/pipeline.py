"""The nodes in one process, on one model; for one camera, or for several.

The model is loaded once for all cameras (how they share it: :class:`ros2_derain.engine.SharedModel`);
the clean image and the semantic prior stay on the device. Topics, parameters and lifecycle are those
of the two separate nodes:

* both active: derain_node's worker restores a frame, publishes the clean image, and then has
  segmentation_node interpret it; its prior is ready for the next frame;
* only derain_node active: it goes on without priors;
* only segmentation_node active: it subscribes to ``derain/image`` like the separate node.

planner_node is made where it is asked for; derain_node then hands it every interpreted scene.

Several cameras have these nodes each, in a namespace of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ros2_derain.engine import SharedModel
from ros2_derain.nodes import runtime
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.planner_node import PlannerNode
from ros2_derain.nodes.segmentation_node import SegmentationNode


def create(models: SharedModel | None = None, planner: bool = False, **options: Any) -> runtime.Nodes:
    """The nodes of one camera, consumers first: activated in this order they miss no frame and no prior.

    Args:
        models: the model; by default one that only these nodes share.
        planner: also planner_node.
        options: further arguments of the nodes.
    """
    models = models or SharedModel()
    planners = (PlannerNode(**options),) if planner else ()
    segmentation = SegmentationNode(models, **options)
    return *planners, segmentation, DerainNode(models, segmentation, *planners, **options)


def create_cameras(names: Sequence[str], namespace: str = "", **options: Any) -> runtime.Nodes:
    """The nodes of every camera, all on one model.

    Args:
        names: each camera's namespace below ``namespace``.
        namespace: of them all.
        options: as for :func:`create`.
    """
    models = SharedModel(cameras=len(names))
    above = f"/{namespace.strip('/')}".rstrip("/")
    cameras = [create(models, namespace=f"{above}/{name}", **options) for name in names]
    return tuple(node for nodes in cameras for node in nodes)


def run(
    argv: list[str] | None = None, names: Sequence[str] = (), namespace: str = "", planner: bool = False
) -> int:
    """Run the pipeline, configured and activated, until SIGINT or SIGTERM.

    Args:
        argv: the command line with ``--ros-args`` and so on.
        names: of the cameras, where there are several.
        namespace: of them all.
        planner: also planner_node.

    Returns:
        the exit status: 0 after a signal, 1 where it could not be started.
    """
    return runtime.run(creator(names, namespace, planner), argv, ready=runtime.activate)


def creator(names: Sequence[str], namespace: str, planner: bool = False) -> Callable[[], runtime.Nodes]:
    """What makes the nodes of one camera, or of several."""
    make = partial(create_cameras, names) if names else create
    return partial(make, namespace=namespace, planner=planner)
