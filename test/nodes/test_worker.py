"""The worker: newest item first served, replaced ones reported, a clean end."""

import threading

import pytest
from limits import HANG_S

from ros2_derain.nodes import worker
from ros2_derain.nodes.worker import Worker


class Station:
    """Handlers that wait until they are released, and the items that they handled."""

    def __init__(self, *queues, **options):
        self.done, self.replaced = [], []
        self.entered, self.may_go = threading.Event(), threading.Event()
        self.finished, self.has_replaced = threading.Semaphore(0), threading.Event()
        handlers = {queue: self.handler(queue) for queue in queues}
        self.worker = Worker("test", handlers, self.note_replaced, **options)

    def handler(self, queue):
        def handle(item):
            self.entered.set()
            assert self.may_go.wait(HANG_S)
            self.done.append((queue, item))
            self.finished.release()

        return handle

    def note_replaced(self, queue):
        self.replaced.append(queue)
        self.has_replaced.set()

    def wait_until_done(self, items):
        for _ in range(items):
            assert self.finished.acquire(timeout=HANG_S)

    def offer_too_many(self):
        """A thread that offers what replaces a waiting item while another is processed."""
        self.worker.offer("image", 1)
        assert self.entered.wait(HANG_S)
        self.worker.offer("image", 2)
        caller = threading.Thread(target=self.worker.offer, args=("image", 3))
        caller.start()
        assert self.has_replaced.wait(HANG_S) and self.replaced == ["image"]
        return caller

    def end(self):
        self.may_go.set()
        self.worker.stop()


def test_a_newer_item_replaces_the_waiting_one():
    station = Station("image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    for item in (2, 3, 4):
        station.worker.offer("image", item)
    assert station.replaced == ["image", "image"]
    station.may_go.set()
    station.wait_until_done(2)
    assert station.worker.stop() == []
    assert station.done == [("image", 1), ("image", 4)]


def test_the_first_queue_goes_first_and_replaces_only_its_own_items():
    station = Station("proposal", "image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    station.worker.offer("image", 2)
    station.worker.offer("proposal", 3)
    station.may_go.set()
    station.wait_until_done(3)
    station.worker.stop()
    assert station.done == [("image", 1), ("proposal", 3), ("image", 2)] and station.replaced == []


@pytest.fixture
def far_from_done(monkeypatch):
    """Items are expected to take long."""
    monkeypatch.setattr(worker, "NEARLY_DONE_S", -HANG_S)


def test_a_sender_of_too_many_is_throttled_until_one_is_taken(far_from_done):
    station = Station("image", throttle_s=HANG_S)
    caller = station.offer_too_many()
    caller.join(0.1)
    assert caller.is_alive()
    station.may_go.set()
    caller.join(HANG_S)
    assert not caller.is_alive()
    station.end()


def test_a_sender_is_not_throttled_when_the_current_item_is_nearly_done():
    station = Station("image", throttle_s=10 * HANG_S)
    caller = station.offer_too_many()
    caller.join(HANG_S)
    assert not caller.is_alive(), "the first item was expected to take no time"
    station.end()


def test_a_sender_that_the_handler_waits_for_is_not_throttled(far_from_done):
    station = Station("image", throttle_s=HANG_S)
    caller = station.offer_too_many()
    caller.join(0.1)
    assert caller.is_alive()
    station.worker.suspend_throttle()
    caller.join(HANG_S)
    assert not caller.is_alive()
    station.end()


def test_a_sender_is_throttled_no_longer_than_the_limit(far_from_done):
    station = Station("image", throttle_s=0.001)
    caller = station.offer_too_many()
    caller.join(HANG_S)
    assert not caller.is_alive()
    station.end()


def test_stop_finishes_the_current_item_and_names_what_waits():
    station = Station("image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    station.worker.offer("image", 2)
    threading.Timer(0.05, station.may_go.set).start()
    assert station.worker.stop() == ["image"]
    assert station.done == [("image", 1)]
