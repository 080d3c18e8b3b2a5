"""What derain_node and segmentation_node have in common.

Lifecycle, parameters, worker, refusals and diagnostics; what a frame goes through
is each node's own.
"""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, Generic

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time

from ros2_derain import models
from ros2_derain.engine import EngineError, ModelError, ModelIdentity
from ros2_derain.image_decoding import ImageError
from ros2_derain.nodes import diagnostics, parameters
from ros2_derain.nodes.diagnostics import Condition, Health
from ros2_derain.nodes.parameters import P, ParameterError
from ros2_derain.nodes.statistics import Statistics
from ros2_derain.nodes.topics import DIAGNOSTICS, Topic
from ros2_derain.nodes.worker import HELD_S, Worker

REPEAT_AFTER_S = 5.0
"""A message about the same cause is logged again after this long."""

Handler = Callable[[Any], None]


class ManagedNode(LifecycleNode, ABC, Generic[P]):
    """A lifecycle node with parameters, a worker thread and diagnostics.

    Subscriptions, worker and timer exist only while the node is active, publishers
    and model only while it is configured.

    Args:
        name: the node's name.
        kind: the dataclass of its parameters.
        options: further arguments of :class:`rclpy.lifecycle.LifecycleNode`.

    Raises:
        rclpy.exceptions.ParameterException: a parameter of the wrong type or out of range.
        ParameterError: a parameter that is not one of its choices.
        EngineError: parameters that contradict each other.
    """

    def __init__(self, name: str, kind: type[P], **options: Any) -> None:
        super().__init__(name, **options)
        self._kind = kind
        self.parameters: P = parameters.declare(self, kind)
        self.settings = parameters.engine_settings(self.parameters)
        self.statistics = Statistics()
        self.configured = False
        self.active = False
        self.finalized = False
        self._publishers_by_topic: dict[Topic, LifecyclePublisher] = {}
        self._subscriptions_by_topic: dict[Topic, Any] = {}
        self._worker: Worker | None = None
        self._reset_wanted = threading.Event()
        self._said: dict[str, float] = {}
        self._trusted_model = self.parameters.model
        self._incompatible = ""
        self._rival_since: float | None = None
        self.add_on_set_parameters_callback(self._on_set_parameters)

    # What each node is

    sharers = 1
    """How many nodes of its kind share its executor."""

    events: tuple[str, ...] = ()
    """What the node counts besides frames, listed from the start."""

    @property
    @abstractmethod
    def identity(self) -> ModelIdentity:
        """The loaded model's identity."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Topic, ...]:
        """What the node publishes."""

    @abstractmethod
    def load(self) -> None:
        """Load and warm up the model. Raises ModelError or EngineError where that fails."""

    @abstractmethod
    def unload(self) -> None:
        """Let go of the model, loaded or not."""

    @abstractmethod
    def lanes(self) -> Mapping[str, Handler]:
        """The worker's lanes; a handler's exceptions are logged and counted."""

    @abstractmethod
    def start(self) -> None:
        """Subscribe, and publish what is latched. The publishers and the worker are ready."""

    @abstractmethod
    def stop(self) -> None:
        """Undo :meth:`start`; the worker has ended."""

    def turn(self) -> AbstractContextManager:
        """The context in which the worker handles an item; entering it may wait."""
        return nullcontext()

    def interrupt(self) -> None:
        """End what a handler waits for: the worker is about to be joined."""

    @abstractmethod
    def forget(self) -> None:
        """Reset what earlier frames left behind; called where no frame is at hand."""

    @abstractmethod
    def condition(self) -> Condition:
        """What the diagnostics' rules look at."""

    # Lifecycle

    def on_configure(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Load the model; FAILURE with the reason logged when that cannot be."""
        return self._transition("configure", previous, self._configure)

    def on_activate(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Begin to take frames."""
        return self._transition("activate", previous, self._activate)

    def on_deactivate(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Finish the frame at hand, take no more, forget the past."""
        return self._transition("deactivate", previous, self._deactivate)

    def on_cleanup(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Let go of model and publishers."""
        return self._transition("clean up", previous, self._release)

    def on_shutdown(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Stop from whatever state."""
        self.finalized = True
        return self._transition("shut down", previous, self._release)

    def on_error(self, previous: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything, so that the node can be configured again."""
        return self._transition("recover", previous, self._release)

    def destroy_node(self) -> None:
        """Stop from whatever state, then destroy the node."""
        self._release()
        super().destroy_node()

    def _transition(
        self,
        name: str,
        previous: LifecycleState,
        act: Callable[[LifecycleState | None], None],
    ) -> TransitionCallbackReturn:
        """Run one transition; rclpy would drop an exception without a word."""
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
        try:
            with ThreadPoolExecutor(1) as aside:  # OpenMP keeps a team for every thread that computes
                aside.submit(self.load).result()
        except RuntimeError as error:
            raise EngineError(f"model {self.settings.model} fails at its warm-up: {error}") from error
        for topic in self.outputs:
            self._publishers_by_topic[topic] = self.create_lifecycle_publisher(
                topic.type,
                topic.name,
                topic.qos(),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self._diagnostics = self.create_publisher(DIAGNOSTICS.type, DIAGNOSTICS.name, DIAGNOSTICS.qos())
        super().on_configure(previous)
        self.configured = True
        identity = self.identity
        self.get_logger().info(
            f"model {identity.name} ({identity.sha256[:12]}) on {identity.device}, "
            f"{identity.precision}, {len(identity.class_names)} classes"
        )

    def _activate(self, previous: LifecycleState) -> None:
        super().on_activate(previous)
        self.statistics = Statistics(self.events)
        self._worker = Worker(
            f"{self.get_name()} worker",
            {lane: self._guarded(lane, handler) for lane, handler in self.lanes().items()},
            replaced=lambda lane: self.lost(lane, "replaced"),
            turn=self.turn,
            held_s=HELD_S / self.sharers,
        )
        self._timer = self.create_timer(self.parameters.diagnostics_period_s, self._on_diagnostics_timer)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda jump: self._reset_wanted.set(),
        )
        self._incompatible = ""
        self.active = True
        self.start()

    def _deactivate(self, previous: LifecycleState | None = None) -> None:
        self.active = False
        for topic in list(self._subscriptions_by_topic):
            self.unsubscribe(topic)
        self.interrupt()
        for lane in self._worker.stop():
            self.lost(lane, "shutdown")
        self._worker = None
        self.stop()
        self._jumps.unregister()
        self.destroy_timer(self._timer)
        self.forget()
        self._reset_wanted.clear()
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
        self._publishers_by_topic[topic].publish(message)

    def supply(self, topic: Topic, make: Callable[[], Any]) -> None:
        """Publish what ``make`` returns on one of :attr:`outputs`, if there is anyone to get it.

        Without a subscriber the message is not even made.
        """
        if self.is_wanted(topic):
            self.publish(topic, make())

    def is_wanted(self, topic: Topic) -> bool:
        """Whether one of :attr:`outputs` has a subscriber, or keeps its messages for late ones."""
        publisher = self._publishers_by_topic[topic]
        if publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            return True
        return publisher.get_subscription_count() > 0

    def subscribe(self, topic: Topic, callback: Callable[..., None]) -> None:
        """Subscribe until :meth:`unsubscribe` or the end of this activation.

        Args:
            topic: what to.
            callback: of the message, or of the message and rclpy's ``MessageInfo``.
        """
        self._subscriptions_by_topic[topic] = self.create_subscription(
            topic.type,
            topic.name,
            callback,
            topic.qos(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._on_incompatible(topic, event)
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

    def _on_incompatible(self, topic: Topic, event: Any) -> None:
        """A publisher was found that this subscription cannot hear."""
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self._incompatible = f"a publisher of {topic.name} offers another {policy} than this node wants"
        self.say(f"incompatible.{topic.name}", f"{self._incompatible}: see qos_overrides")

    # Frames

    def offer(self, lane: str, item: Any) -> None:
        """Hand the worker an item."""
        if self._worker is not None:
            self._worker.offer(lane, item)

    def let_in(self) -> None:
        """Hold up no message until the present item is done: its handler waits for one."""
        if self._worker is not None:
            self._worker.let_in()

    @property
    def busy_s(self) -> float:
        """How long the worker has been at its present item, in seconds."""
        return self._worker.busy_s if self._worker is not None else 0.0

    def lost(self, lane: str, cause: str) -> None:
        """An item of this lane came to nothing."""
        self.statistics.dropped(cause)

    def age_ms(self, stamp_ns: int) -> float:
        """Time since a stamp by the node's clock."""
        now: Time = self.get_clock().now()
        return (now.nanoseconds - stamp_ns) / 1e6

    def say(self, cause: str, text: str) -> None:
        """Warn, at most every :data:`REPEAT_AFTER_S` seconds about the same cause."""
        now = time.monotonic()
        if now - self._said.get(cause, -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
            self._said[cause] = now
            self.get_logger().warning(text)

    def _guarded(self, lane: str, handler: Handler) -> Handler:
        """A handler that never raises: a frame may be lost, the worker never is."""

        def handle(item: Any) -> None:
            if self._reset_wanted.is_set():
                self._reset_wanted.clear()
                self.forget()
            try:
                handler(item)
            except ImageError as error:
                self.lost(lane, f"refused.{error.cause}")
                self.say(f"{lane}.{error.cause}", f"{lane}: {error}")
            except Exception:
                self.lost(lane, "error")
                self.say(f"{lane}.error", f"{lane}: lost to an error:\n{traceback.format_exc()}")

        return handle

    # Parameters

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Take valid changes at once; refuse the others, all or none, with the reason."""
        values = asdict(self.parameters)
        changed = {item.name: item.value for item in changes if item.name in values}
        fixed = [name for name in changed if parameters.needs_cleanup(self._kind, name)]
        if self.configured and fixed:
            return _refused(f"{', '.join(fixed)}: read at configure; clean the node up to change it")
        model = changed.get("model", self._trusted_model)
        if model != self._trusted_model and models.is_path(model):
            return _refused(f"model {model!r}: a path is taken when the node starts only; name a model")
        try:
            wanted = parameters.checked(self._kind, {**values, **changed})
            settings = parameters.engine_settings(wanted)
        except (ParameterError, EngineError) as error:
            return _refused(str(error))
        self.parameters, self.settings = wanted, settings
        if changed and self.active:
            self.on_parameters_changed()
        return SetParametersResult(successful=True)

    def on_parameters_changed(self) -> None:
        """Parameters changed while active; settings are taken up with the next frame."""

    # Diagnostics

    def _on_diagnostics_timer(self) -> None:
        """A call may have been waiting already when the timer was destroyed."""
        if self.active:
            self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        identity = self.identity
        facts = {
            "model": identity.name,
            "model_sha256": identity.sha256,
            "device": identity.device,
            "precision": identity.precision,
            **self.facts(),
        }
        if identity.device.startswith("cuda"):
            facts["gpu_memory_mb"] = f"{torch.cuda.memory_allocated(identity.device) / 2**20:.0f}"
        name = self.get_fully_qualified_name().lstrip("/")
        status = diagnostics.status(name, identity.device, self.condition(), facts)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def health(self) -> Health:
        """What the diagnostics' rules look at, of any node."""
        rivals = self._has_rivals() if self.configured else False
        now = time.monotonic()
        self._rival_since = (self._rival_since or now) if rivals else None
        return Health(
            busy_s=self.busy_s,
            incompatible=self._incompatible,
            rival_s=now - self._rival_since + 1e-3 if rivals else 0.0,
        )

    def _has_rivals(self) -> bool:
        """Whether others publish under the name of this node's first output."""
        return self.count_publishers(self._publishers_by_topic[self.outputs[0]].topic_name) > 1

    def facts(self) -> dict[str, str]:
        """Further keys and values of the node's diagnostics."""
        return {}


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
