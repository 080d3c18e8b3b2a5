"""Priors over topics: matched by stamp, awaited up to a timeout, refused where they do not fit."""

import threading
import time

import numpy as np
import pytest
import rig
import torch
from limits import HANG_S

from ros2_derain import messages
from ros2_derain.messages import images, topics
from ros2_derain.nodes import outputs
from ros2_derain.nodes.derain_node import DerainNode
from ros2_derain.nodes.prior_exchange import KEPT, StampedStore


def derain_only(**options):
    """derain_node as a process of its own runs it; the test plays the parser."""
    return (DerainNode(**options),)


class Parser:
    """A parser with the model's classes whose messages and their times the test decides."""

    def __init__(self, made, classes=("sky", "road", "car")):
        self.made = made
        node = made.client.node
        self.priors = node.create_publisher(outputs.SEMANTIC_PRIOR.type, "semantic_prior", topics.recent())
        self.info = node.create_publisher(outputs.LABEL_INFO.type, outputs.LABEL_INFO.name, topics.latched())
        self.say_classes(classes)
        self.proposals = []
        node.create_subscription(topics.PROPOSAL.type, topics.PROPOSAL.name, self._asked, topics.recent())
        self.answers = False
        self.connect()

    def connect(self):
        exchange = self.made.derain._priors
        made = lambda: (  # noqa: E731
            self.priors.get_subscription_count() >= 2  # derain_node's and the client's own
            and exchange._proposals.get_subscription_count() == 1
            and exchange._classes is not None
        )
        assert self.made.client.until(made)

    def say_classes(self, classes):
        self.info.publish(messages.to_label_info(classes, 0.0, messages.to_header(0, "")))

    def _asked(self, message):
        self.proposals.append(message)
        if self.answers:
            self.say(messages.stamp_ns(message.header))

    def say(self, stamp, channels=3, height=8, width=12):
        prior = np.full((channels, height, width), 85, np.uint8)
        self.priors.publish(images.from_channels(prior, messages.to_header(stamp, "camera")))


@pytest.fixture
def parsed(make_rig):
    """Makes a rig with derain_node alone, and the parser."""

    def make(**parameters):
        made = make_rig(derain_only, **parameters)
        assert made.change(made.derain, "configure") and made.change(made.derain, "activate")
        assert made.client.until(lambda: made.client.image.get_subscription_count() == 1)
        return made, Parser(made)

    return make


def counts(made):
    return made.counters().counts


CLEAN = [outputs.CLEAN_IMAGE]


@pytest.mark.parametrize("prior", ["temporal", "closed_loop"])
def test_two_nodes_exchange_every_prior(active, prior):
    made = active(rig.separate, prior=prior, prior_timeout_ms=10000.0, score_threshold=0.0)
    rig.connected(made)
    sent = [made.pass_through() for _ in range(4)]
    assert counts(made)["priors_missed"] == 0 and made.client.stamps(outputs.LABEL_MAP) == sent
    answered = lambda: made.counters(made.segmentation).counts["proposals_answered"]  # noqa: E731
    made.client.expect(answered, 12 if prior == "closed_loop" else 0)


def test_both_ways_to_run_give_the_same_images(active):
    clean = []
    for create in (rig.composed, rig.separate):
        made = active(create, prior="closed_loop", iterations=2, prior_timeout_ms=10000.0)
        if create is rig.separate:
            rig.connected(made)
        made.pass_through(rig.noise_image(seed=1))
        clean.append(images.to_rgb(made.client.last(outputs.CLEAN_IMAGE)).astype(int))
    assert abs(clean[0] - clean[1]).max() <= 2, "but for the proposal's rounding to 8 bits"


def test_a_prior_in_time_is_taken_and_one_too_late_is_missed(parsed):
    made, parser = parsed(prior_timeout_ms=10000.0)
    first = made.pass_through(out=CLEAN)
    parser.say(first)
    second = made.pass_through(out=CLEAN)
    assert counts(made)["priors_missed"] == 0
    assert made.set_parameter(made.derain, "prior_timeout_ms", 150.0).successful
    began = time.monotonic()
    made.pass_through(out=CLEAN)
    assert time.monotonic() - began >= 0.15
    assert counts(made)["priors_missed"] == 1
    parser.say(second)
    assert made.client.until(lambda: made.client.values("derain_node").get("priors_missed") == "1")


def test_priors_arrive_while_the_worker_waits(parsed):
    made, parser = parsed(prior_timeout_ms=10000.0)
    first = made.pass_through(out=CLEAN)
    second = made.send()
    assert not made.client.until(lambda: second in made.client.stamps(outputs.CLEAN_IMAGE), 0.2)
    parser.say(first)
    assert made.client.until(lambda: second in made.client.stamps(outputs.CLEAN_IMAGE))
    assert counts(made)["priors_missed"] == 0


def test_without_a_parser_no_frame_waits(make_rig):
    made = make_rig(derain_only, prior_timeout_ms=10000.0)
    assert made.change(made.derain, "configure") and made.change(made.derain, "activate")
    assert made.client.until(lambda: made.client.image.get_subscription_count() == 1)
    for _ in range(2):
        made.pass_through(out=CLEAN)
    assert counts(made)["priors_missed"] == 1


def test_a_silent_parser_delays_a_closed_loop_once(parsed):
    made, parser = parsed(prior="closed_loop", iterations=5, prior_timeout_ms=200.0)
    began = time.monotonic()
    stamp = made.pass_through(out=CLEAN)
    assert time.monotonic() - began >= 0.2
    made.client.expect(lambda: [messages.stamp_ns(p.header) for p in parser.proposals], [stamp])
    assert counts(made)["priors_missed"] == 1
    parser.answers = True
    made.pass_through(out=CLEAN)
    made.client.expect(lambda: len(parser.proposals), 6)
    assert counts(made)["priors_missed"] == 1
    proposal = parser.proposals[-1]
    assert (proposal.height, proposal.width, proposal.encoding) == (64, 96, "rgb8")


def test_a_waiting_worker_ends_at_deactivation(parsed):
    made, _ = parsed(prior_timeout_ms=10000.0)
    made.pass_through(out=CLEAN)
    made.send()
    assert made.client.until(lambda: made.derain.statistics.snapshot().received == 2)
    began = time.monotonic()
    assert made.change(made.derain, "deactivate")
    assert time.monotonic() - began < 10, "it waited for its prior"
    assert made.client.until(lambda: made.is_accounted_for(made.derain))


@pytest.mark.parametrize(
    ("wrong", "classes", "cause"),
    [
        ({"channels": 4}, None, "channels"),
        ({}, ("sky", "road", "cow"), "classes"),
        ({"height": 9}, None, "size"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused_by_name(parsed, capfd, wrong, classes, cause):
    made, parser = parsed(prior_timeout_ms=10000.0 if cause == "size" else 100.0)  # it is waited for
    if classes:
        before = made.derain._priors._classes
        parser.say_classes(classes)
        assert made.client.until(lambda: made.derain._priors._classes != before)
    parser.say(made.pass_through(out=CLEAN), **wrong)
    made.pass_through(out=CLEAN)
    key = f"priors_refused.{cause}"
    assert made.client.until(lambda: made.client.values("derain_node").get(key) == "1")
    assert counts(made)["priors_missed"] == 1
    assert "semantic prior refused" in capfd.readouterr().err


def test_the_store_keeps_the_latest_priors():
    store = StampedStore()
    for stamp in range(KEPT + 1):
        store.put(stamp, torch.full((1,), stamp))
    assert store.take(0, 0.0) is None and store.take(KEPT, 0.0) == KEPT


def test_a_closed_store_ends_all_waiting():
    store = StampedStore()
    waiter = threading.Thread(target=store.take, args=(1, 60.0))
    waiter.start()
    store.close()
    waiter.join(HANG_S)
    assert not waiter.is_alive()
