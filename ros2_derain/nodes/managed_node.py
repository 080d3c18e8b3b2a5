"""What all nodes share: lifecycle, parameters, worker, topics, diagnostics.

The way of a frame is in each node's own file.
"""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, Generic

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, qos_policy_name_from_kind
from rclpy.time import Time

from ros2_derain.engine import EngineError, ModelError
from ros2_derain.image_decoding import ImageError
from ros2_derain.messages.topics import DIAGNOSTICS, QOS_OVERRIDES, Topic
from ros2_derain.nodes import diagnostics, outputs, parameters
from ros2_derain.nodes.diagnostics import Condition, Statistics
from ros2_derain.nodes.parameters import P, ParameterError
from ros2_derain.nodes.sending import RCLError, send
from ros2_derain.nodes.worker import THROTTLE_S, Worker

REPEAT_AFTER_S = 5.0
"""A warning with the same cause is logged again after this long."""

Handler = Callable[[Any], None]


class ManagedNode(LifecycleNode, ABC, Generic[P]):
    """A lifecycle node with parameters, a worker thread and diagnostics.

    Subscriptions, worker and timer exist only while the node is active, publishers
    and what was loaded only while it is configured.

    Args:
        name: the node's name.
        kind: the dataclass of its parameters.
        options: further arguments of :class:`rclpy.lifecycle.LifecycleNode`.

    Raises:
        rclpy.exceptions.ParameterException: a parameter of the wrong type or out of range.
        ParameterError: a parameter that is not one of its choices.
        EngineError: parameters that contradict each other.
    """

    events: tuple[str, ...] = ()
    """What the node counts besides frames, listed from the start."""

    throttle_s = THROTTLE_S
    """Longest time that a publisher of the node's inputs is blocked."""

    def __init__(self, name: str, kind: type[P], **options: Any) -> None:
        super().__init__(name, **options)
        self._kind: type[P] = kind
        self._full_name = self.get_fully_qualified_name()
        self.outputs = outputs.of_node(name)
        self.statistics = Statistics()
        self.configured = False
        self.active = False
        self.finalized = False
        self._publishers_by_topic: dict[Topic, LifecyclePublisher] = {}
        self._subscriptions_by_topic: dict[Topic, Any] = {}
        self._worker: Worker | None = None
        self._reset_requested = threading.Event()
        self._warned: dict[str, float] = {}
        self.parameters: P = parameters.declare(self, kind)  # may fail: rclpy then destroys the node
        for unknown in parameters.unknown(self):
            self.get_logger().warning(unknown)
        self._incompatible = ""
        self._duplicate_since: float | None = None
        self.add_on_set_parameters_callback(self._on_set_parameters)

    # What each node defines

    @abstractmethod
    def load(self) -> str:
        """Get ready to be activated; returns a line for the log.

        Raises:
            EngineError, ModelError: that is impossible.
        """

    @abstractmethod
    def unload(self) -> None:
        """Release what :meth:`load` made, if it did."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Further keys and values of the diagnostics; ``device`` is also their hardware id."""

    @abstractmethod
    def handlers(self) -> Mapping[str, Handler]:
        """The worker's queues; a handler's exceptions are logged and counted."""

    @abstractmethod
    def start(self) -> None:
        """Subscribe. Publishers and worker are ready, and what is latched has been published."""

    def publish_on_start(self) -> None:
        """Publish what is not about a frame: at activation, and when a parameter has changed."""

    def interrupt(self) -> None:
        """End what a handler may be waiting for: the worker is about to be joined."""

    def stop(self) -> None:
        """Undo :meth:`start`; the worker has ended."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what earlier frames left behind; called where no frame is being processed."""

    def accept(self, parameters: P) -> None:
        """Take changed parameters, which are valid each by itself.

        Raises:
            ParameterError, EngineError: they contradict each other, or one may not be changed so.
        """

    def frame_context(self) -> AbstractContextManager:
        """The context in which the worker processes an item."""
        return nullcontext()

    # Lifecycle

    def on_configure(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Load what the node needs; FAILURE with the reason logged when that is impossible."""
        return self._transition("configure", previous, self._configure)

    def on_activate(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take frames."""
        return self._transition("activate", previous, self._activate)

    def on_deactivate(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Finish the current frame, take no more, forget the past."""
        return self._transition("deactivate", previous, self._deactivate)

    def on_cleanup(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Release what was loaded, and the publishers."""
        return self._transition("clean up", previous, self._release)

    def on_shutdown(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Stop from whatever state."""
        self.finalized = True
        return self._transition("shut down", previous, self._release)

    def on_error(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that the node can be configured again."""
        return self._transition("recover", previous, self._release)

    def destroy_node(self) -> None:
        """Stop from whatever state, then destroy the node."""
        self._release()
        super().destroy_node()

    def _transition(
        self, name: str, previous: LifecycleState, act: Callable[[LifecycleState], None]
    ) -> TransitionCallbackReturn:
        """Run one transition; rclpy would drop an exception silently."""
        try:
            act(previous)
        except (ModelError, EngineError) as error:
            self.get_logger().error(f"cannot {name}: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"cannot {name}:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _configure(self, previous: LifecycleState) -> None:
        loaded = self.load()
        for topic in self.outputs:
            self._publishers_by_topic[topic] = self.create_lifecycle_publisher(
                topic.type, topic.name, topic.qos(), qos_overriding_options=QOS_OVERRIDES
            )
        self._diagnostics: Publisher = self.create_publisher(
            DIAGNOSTICS.type, DIAGNOSTICS.name, DIAGNOSTICS.qos()
        )
        super().on_configure(previous)
        self.configured = True
        self.get_logger().info(loaded)

    def _activate(self, previous: LifecycleState) -> None:
        super().on_activate(previous)
        self.statistics = Statistics(self.events)
        self._worker = Worker(
            f"{self.get_name()} worker",
            {queue: self._guarded(queue, handler) for queue, handler in self.handlers().items()},
            replaced=lambda queue: self.dropped(queue, "replaced"),
            context=self.frame_context,
            throttle_s=self.throttle_s,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        period_s = self.parameters.diagnostics_period_s
        self._timer = self.create_timer(period_s, self._on_diagnostics_timer, clock=steady)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda jump: self._reset_requested.set(),
        )
        self._incompatible = ""
        self.active = True
        self.publish_on_start()
        self.start()

    def _deactivate(self, previous: LifecycleState | None = None) -> None:
        self.active = False
        for topic in list(self._subscriptions_by_topic):
            self.unsubscribe(topic)
        self.interrupt()
        worker, self._worker = self._worker, None
        for queue in worker.stop() if worker else ():
            self.dropped(queue, "shutdown")
        self.stop()
        self._jumps.unregister()
        self.destroy_timer(self._timer)
        self.reset()
        self._reset_requested.clear()
        self._publish_diagnostics()
        if previous is not None:
            super().on_deactivate(previous)

    def _release(self, previous: LifecycleState | None = None) -> None:
        """Back to unconfigured from whatever state."""
        if self._worker is not None:
            self._deactivate()
        for publisher in self._publishers_by_topic.values():
            self.destroy_lifecycle_publisher(publisher)
        self._publishers_by_topic.clear()
        if self.configured:
            self.destroy_publisher(self._diagnostics)
        self.configured = False
        self.unload()

    # Topics

    def publish(self, topic: Topic, message: Any) -> None:
        """Publish a message on one of :attr:`outputs`."""
        self.send(self._publishers_by_topic[topic], message)

    def send(self, publisher: Publisher | LifecyclePublisher, message: Any) -> None:
        """Publish a message; one that the transport keeps refusing is counted and reported."""
        try:
            send(publisher.publish, message)
        except RCLError as error:
            self.statistics.count("unsent")
            self.warn(f"unsent.{publisher.topic_name}", f"{publisher.topic_name}: a message is lost: {error}")

    def has_subscriber(self, topic: Topic) -> bool:
        """Whether one of :attr:`outputs` has a subscriber, or keeps its messages for late ones."""
        publisher = self._publishers_by_topic[topic]
        if publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            return True
        return publisher.get_subscription_count() > 0

    def subscribe(
        self, topic: Topic, callback: Callable[..., None], report_incompatible: bool = True
    ) -> None:
        """Subscribe until :meth:`unsubscribe` or the end of this activation.

        Args:
            topic: an input.
            callback: of the message, or of the message and rclpy's ``MessageInfo``.
            report_incompatible: warn of publishers whose quality of service excludes this subscription.
        """
        self._subscriptions_by_topic[topic] = self.create_subscription(
            topic.type,
            topic.name,
            callback,
            topic.qos(),
            qos_overriding_options=QOS_OVERRIDES if report_incompatible else None,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._on_incompatible(topic, event, report_incompatible)
            ),
        )

    def count_senders(self, topic: Topic) -> int:
        """How many publish what this node has subscribed to, under whatever name it is remapped to."""
        return self.count_publishers(self._subscriptions_by_topic[topic].topic_name)

    def unsubscribe(self, topic: Topic) -> None:
        """End a subscription; without one, do nothing."""
        subscription = self._subscriptions_by_topic.pop(topic, None)
        if subscription is not None:
            self.destroy_subscription(subscription)

    def _on_incompatible(self, topic: Topic, event: Any, report: bool) -> None:
        """A publisher was found whose quality of service excludes this subscription."""
        if not report:
            return
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        resolved = self.resolve_topic_name(topic.name)
        self._incompatible = f"a publisher of {resolved} offers another {policy} than this node needs"
        parameter = f"qos_overrides.{resolved}.subscription.{policy}"
        self.warn(f"incompatible.{topic.name}", f"{self._incompatible}: set the parameter {parameter}")

    # Frames

    def offer(self, queue: str, item: Any) -> None:
        """Hand the worker an item."""
        if self._worker is not None:
            self._worker.offer(queue, item)

    def suspend_throttle(self) -> None:
        """Block no message until the current item is done: its handler waits for one."""
        if self._worker is not None:
            self._worker.suspend_throttle()

    @property
    def busy_s(self) -> float:
        """How long the worker has been processing its current item, in seconds."""
        return self._worker.busy_s if self._worker is not None else 0.0

    def dropped(self, queue: str, cause: str) -> None:
        """An item of this queue was not processed or failed."""
        self.statistics.dropped(cause)

    def age_ms(self, stamp_ns: int) -> float:
        """Time since a stamp by the node's clock."""
        now: Time = self.get_clock().now()
        return (now.nanoseconds - stamp_ns) / 1e6

    def warn(self, cause: str, text: str) -> None:
        """Log a warning, at most every :data:`REPEAT_AFTER_S` seconds for the same cause."""
        now = time.monotonic()
        if now - self._warned.get(cause, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
            self._warned[cause] = now
            self.get_logger().warning(text)

    def _guarded(self, queue: str, handler: Handler) -> Handler:
        """A handler that never raises: a frame may be lost, the worker never is."""

        def handle(item: Any) -> None:
            if self._reset_requested.is_set():
                self._reset_requested.clear()
                self.reset()
            try:
                handler(item)
            except ImageError as error:
                self.dropped(queue, f"refused.{error.cause}")
                self.warn(f"{queue}.{error.cause}", f"{queue}: {error}")
            except Exception:
                self.dropped(queue, "error")
                self.warn(f"{queue}.error", f"{queue}: lost to an error:\n{traceback.format_exc()}")

        return handle

    # Parameters

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Accept valid changes at once; refuse the others, all or none, with the reason."""
        values = asdict(self.parameters)
        changed = {item.name: item.value for item in changes if item.name in values}
        fixed = [
            name
            for name, value in changed.items()
            if value != values[name] and parameters.needs_cleanup(self._kind, name)
        ]
        if self.configured and fixed:
            return _refused(f"{', '.join(fixed)}: read at configure; clean the node up to change it")
        try:
            new = parameters.checked(self._kind, {**values, **changed})
            self.accept(new)
        except (ParameterError, EngineError) as error:
            return _refused(str(error))
        self.parameters = new
        if changed and self.active:
            self.publish_on_start()
        return SetParametersResult(successful=True)

    # Diagnostics

    def _on_diagnostics_timer(self) -> None:
        """A call may have been waiting already when the timer was destroyed."""
        if self.active:
            self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        facts = self.facts()
        name = self._full_name.lstrip("/")
        status = diagnostics.status(name, facts.get("device", ""), self.condition(), facts)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self.send(self._diagnostics, message)

    def condition(self) -> Condition:
        """Input of the diagnostics' rules, of any node."""
        duplicate = self.configured and self._has_duplicate()
        now = time.monotonic()
        self._duplicate_since = (self._duplicate_since or now) if duplicate else None
        return Condition(
            self.statistics.snapshot(),
            self.active,
            busy_s=self.busy_s,
            incompatible=self._incompatible,
            duplicate_s=now - self._duplicate_since + 1e-3 if self._duplicate_since else 0.0,
        )

    def _has_duplicate(self) -> bool:
        """Whether another node publishes under the name of one of this node's outputs."""
        publishers = self._publishers_by_topic.values()
        return any(self.count_publishers(publisher.topic_name) > 1 for publisher in publishers)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
