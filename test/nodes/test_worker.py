"""The worker: newest item first served, replaced ones reported, a clean end."""

import threading

from limits import HANG_S

from ros2_derain.nodes import worker
from ros2_derain.nodes.worker import Worker


class Station:
    """Handlers that wait until they are let go, and what they handled."""

    def __init__(self, *lanes):
        self.done, self.replaced = [], []
        self.entered, self.may_go = threading.Event(), threading.Event()
        self.worker = Worker("test", {lane: self.handler(lane) for lane in lanes}, self.replaced.append)

    def handler(self, lane):
        def handle(item):
            self.entered.set()
            assert self.may_go.wait(HANG_S)
            self.done.append((lane, item))

        return handle


def test_a_newer_item_replaces_the_waiting_one():
    station = Station("image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    for item in (2, 3, 4):
        station.worker.offer("image", item)
    assert station.replaced == ["image", "image"]
    station.may_go.set()
    while len(station.done) < 2:
        pass
    assert station.worker.stop() == []
    assert station.done == [("image", 1), ("image", 4)]


def test_the_first_lane_goes_first_and_replaces_only_its_own():
    station = Station("proposal", "image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    station.worker.offer("image", 2)
    station.worker.offer("proposal", 3)
    station.may_go.set()
    while len(station.done) < 3:
        pass
    station.worker.stop()
    assert station.done == [("image", 1), ("proposal", 3), ("image", 2)] and station.replaced == []


def test_who_brings_too_many_is_held_up_until_one_is_taken(monkeypatch):
    monkeypatch.setattr(worker, "HELD_SHARE", 1e9)
    monkeypatch.setattr(worker, "HELD_S", HANG_S)
    station = Station("image")
    station.may_go.set()
    station.worker.offer("image", 0)
    while not station.done:
        pass
    station.may_go.clear()
    station.entered.clear()
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    station.worker.offer("image", 2)
    caller = threading.Thread(target=station.worker.offer, args=("image", 3))
    caller.start()
    caller.join(0.1)
    assert caller.is_alive() and station.replaced == ["image"]
    station.may_go.set()
    caller.join(HANG_S)
    assert not caller.is_alive()
    station.worker.stop()
    assert station.done[:2] == [("image", 0), ("image", 1)]


def test_stop_finishes_the_item_at_hand_and_names_what_waits():
    station = Station("image")
    station.worker.offer("image", 1)
    assert station.entered.wait(HANG_S)
    station.worker.offer("image", 2)
    threading.Timer(0.05, station.may_go.set).start()
    assert station.worker.stop() == ["image"]
    assert station.done == [("image", 1)]
