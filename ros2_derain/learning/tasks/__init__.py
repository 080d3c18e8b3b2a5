"""What can be trained; a recipe's ``task`` names one of :data:`TASKS`."""

from .base import Task
from .loopnet import DerainTask, GaugeTask, LoopTask, ParseTask
from .papers import RestoreTask, UbcnTask

__all__ = ["TASKS", "Task"]

TASKS: dict[str, type[Task]] = {
    "derain": DerainTask,
    "parse": ParseTask,
    "loop": LoopTask,
    "gauge": GaugeTask,
    "restore": RestoreTask,
    "ubcn": UbcnTask,
}
