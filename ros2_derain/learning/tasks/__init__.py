"""What can be trained; a recipe's ``task`` names one of :data:`TASKS`."""

from .base import Task
from .derain import DerainTask
from .gauge import GaugeTask
from .loop import LoopTask
from .parse import ParseTask
from .restore import RestoreTask
from .ubcn import UbcnTask

__all__ = ["TASKS", "Task"]

TASKS: dict[str, type[Task]] = {
    "derain": DerainTask,
    "parse": ParseTask,
    "loop": LoopTask,
    "gauge": GaugeTask,
    "restore": RestoreTask,
    "ubcn": UbcnTask,
}
