"""What runs a network: PyTorch itself, or a graph compiled by OpenVINO, ONNX Runtime or TensorRT.

:func:`compile_graph` makes a :class:`Graph` of an ONNX file, whoever wrote it. The networks of a model
folder become such graphs in :mod:`ros2_derain.engine.graph_networks`.
"""

from .cache import Cache
from .graph import Graph, GraphError, Port, compile_graph, installed, require

__all__ = ["Cache", "Graph", "GraphError", "Port", "compile_graph", "installed", "require"]
